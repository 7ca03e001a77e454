"""A command beside a running container, in the same namespaces.

The container's init shows its namespaces to nobody; its supervisor holds them, outside, and they
are taken from there.
"""

from __future__ import annotations

import base64
import contextlib
import os
import select
import signal
import time
from typing import Dict, List, Tuple

from bessemer.launcher import (
    command,
    confinement,
    limits,
    linux,
    processes,
    protocol,
    seccomp,
    sockets,
)
from bessemer.launcher.folder import Record, start_time
from bessemer.launcher.protocol import Closed, Line

#: As much as probes and `kubectl exec` of a line or two need; more is cut.
MOST_OUTPUT = 65536
TIMED_OUT = 124
_FILTER = seccomp.own_program()


def execute(request: Record, asker: Line) -> None:
    """Run the request's command and answer with its code and output."""
    os.setsid()
    try:
        code, output = _run(request)
    except OSError as error:
        code, output = command.NOT_STARTED, str(error).encode()
    with contextlib.suppress(Closed):
        asker.send({"code": code, "output": base64.b64encode(output).decode()})


def _run(request: Record) -> Tuple[int, bytes]:
    spec, supervisor = request["spec"], request["supervisor"]
    namespaces = _namespaces_held_by(supervisor["pid"]) if spec["sandbox"] else {}
    if start_time(supervisor["pid"]) != supervisor["start_time"]:
        return command.NOT_STARTED, b"the container has ended"
    poll = select.poll()
    guard = sockets.Sockets(spec, poll)
    ours, theirs = protocol.pair()
    group = limits.open_entries(request["cgroups"])
    for name in linux.NAMESPACES if spec["sandbox"] else ():
        linux.enter_namespace(namespaces[name], name)
    reader, writer = os.pipe()
    if spec["sandbox"]:
        linux.set_dumpable(dumpable=False)  # until its exec: its memory is the zygote's
    child = os.fork()
    if child == 0:
        _become(request, writer, group, theirs)
    os.close(writer)
    theirs.connection.close()
    guard.expect(ours)
    output, timed_out = _read(reader, time.monotonic() + request["timeout"], poll, guard)
    guard.close()
    if timed_out:
        for one in (*processes.descendants(child), child):
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if timed_out:
        return TIMED_OUT, output
    return (
        128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    ), output


def _namespaces_held_by(supervisor: int) -> Dict[str, int]:
    """Name -> descriptor, of the container's namespaces."""
    folder = "/proc/%d/fd/" % supervisor
    found: Dict[str, int] = {}
    for number in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            name, _, _ = os.readlink(folder + number).partition(":[")
            if name in linux.NAMESPACES:
                found[name] = os.open(folder + number, os.O_RDONLY | os.O_CLOEXEC)
    if len(found) < len(linux.NAMESPACES):
        raise ProcessLookupError("the container has ended")
    return found


def _become(request: Record, output: int, group: List[int], line: Line) -> None:
    """In the child: be the command; never returns."""
    spec = request["spec"]
    try:
        for entry in group:
            os.write(entry, b"0")
        command.settle(output)
        command.enter(spec["cwd"])
        if spec["sandbox"]:
            confinement.confine(_FILTER if spec["filtered"] else None, (line.fileno(),))
            sockets.guard(spec, line, {})
            line.connection.close()
        else:
            linux.close_all_but(())
        code, reason = command.execute(request["argv"], spec["env"])
    except (OSError, Closed) as error:
        code, reason = command.NOT_STARTED, str(error)
    os.write(2, reason.encode())
    os._exit(code)


def _read(
    reader: int, deadline: float, poll: select.poll, guard: sockets.Sockets
) -> Tuple[bytes, bool]:
    """What the command writes until its end, and whether the time ran out before that."""
    poll.register(reader, select.POLLIN)
    output = b""
    while True:
        left = deadline - time.monotonic()
        events = dict(poll.poll(left * 1000)) if left > 0 else {}
        if not events:
            return output, True
        for descriptor, event in events.items():
            guard.take(descriptor, event)
        if reader not in events:
            continue
        piece = os.read(reader, 65536)
        if not piece:
            return output, False
        output = (output + piece)[:MOST_OUTPUT]
