"""PID 1 of a container: builds its root, starts its command, reaps, and takes all along.

Words on its line to the supervisor: it says ``ready`` (or ``failed``), hears ``go`` (or ``wait``
when a warm zygote brings the program), says ``ended``.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Optional, Tuple

from bessemer.launcher import command, linux, processes, root, sockets
from bessemer.launcher.folder import Record
from bessemer.launcher.protocol import Closed, Line

_PARENT_DIED = signal.SIGRTMIN if hasattr(signal, "SIGRTMIN") else signal.SIGUSR1


def run(spec: Record, line: Line, log: int) -> None:
    """Be the init of this container; never returns."""
    try:
        _prepare(spec)
    except (OSError, KeyError) as error:
        line.send({"failed": "the container could not be set up: %s" % error})
        os._exit(1)
    signals = {*command.FORWARDED, signal.SIGCHLD, _PARENT_DIED}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        sockets.guard(spec, line, {"ready": True})
        go = line.receive()
    except Closed:
        os._exit(1)
    except OSError as error:
        line.send({"failed": "the container's sockets could not be guarded: %s" % error})
        os._exit(1)
    child, failure = _start(spec, log) if go["go"] else (0, None)
    if failure is not None:
        line.send({"failed": failure[1], "code": failure[0]})
        os._exit(1)
    status = _watch(child, signals)
    if not spec["sandbox"]:
        processes.end_descendants(os.getpid())
    try:
        line.send({"ended": status})
    finally:
        os._exit(0)


def _prepare(spec: Record) -> None:
    if not spec["sandbox"]:
        if sys.platform == "linux":
            linux.become_subreaper()
            linux.die_with_parent(_PARENT_DIED)
        return
    linux.unshare(linux.CLONE_NEWNS)
    root.build(spec)
    linux.sethostname(spec["hostname"])
    linux.drop_privileges()
    linux.die_with_parent(signal.SIGKILL)


def _start(spec: Record, log: int) -> Tuple[int, Optional[Tuple[int, str]]]:
    """Fork the command: its pid, or why it could not be run."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            command.settle(log)
            command.enter(spec["cwd"], make_folder=spec["makes_cwd"])
            code, reason = command.execute(spec["argv"], spec["env"])
        except OSError as error:
            code, reason = command.NOT_STARTED, "%s: %s" % (spec["cwd"], error.strerror)
        os.write(writer, ("%d %s" % (code, reason)).encode())
        os._exit(code)
    os.close(writer)
    with open(reader, "rb") as file:
        answer = file.read().decode()
    if not answer:
        return child, None
    os.waitpid(child, 0)
    number, _, reason = answer.partition(" ")
    return 0, (int(number), reason)


def _watch(child: int, signals: set[signal.Signals]) -> int:
    """Reap until the command ended; its wait status."""
    while True:
        got = signal.sigwait(signals)
        if got == _PARENT_DIED:
            processes.end_descendants(os.getpid())
            os._exit(1)
        if got != signal.SIGCHLD:
            if child:
                os.kill(child, got)
            continue
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid == child:
                return status
