"""A command beside a running container, in the same namespaces."""

from __future__ import annotations

import base64
import contextlib
import os
import select
import signal
import time
from typing import Tuple

from bessemer.launcher import command, linux, processes, protocol, sockets
from bessemer.launcher.folder import Record, start_time
from bessemer.launcher.protocol import Closed, Line

#: As much as probes and `kubectl exec` of a line or two need; more is cut.
MOST_OUTPUT = 65536
TIMED_OUT = 124


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
    pid = request["pid"]
    spec = request["spec"]
    names = linux.NAMESPACES if spec["sandbox"] else ()
    namespaces = {name: linux.open_namespace(pid, name) for name in names}
    if start_time(pid) != request["start_time"]:
        return command.NOT_STARTED, b"the container has ended"
    poll = select.poll()
    guard = sockets.Sockets(spec, poll)
    for name, descriptor in namespaces.items():
        linux.enter_namespace(descriptor, name)
    reader, writer = os.pipe()
    ours, theirs = protocol.pair()
    guard.expect(ours)
    child = os.fork()
    if child == 0:
        try:
            command.settle(writer)
            command.enter(spec["cwd"])
            if spec["sandbox"]:
                linux.drop_privileges()
                sockets.guard(spec, theirs, {})
            code, reason = command.execute(request["argv"], spec["env"])
        except OSError as error:
            code, reason = command.NOT_STARTED, str(error)
        os.write(2, reason.encode())
        os._exit(code)
    os.close(writer)
    theirs.connection.close()
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
