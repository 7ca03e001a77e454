"""PID 1 of a container: builds its root, starts its command, reaps, and takes all along.

Words on its line to the supervisor: it says ``here`` with the namespaces it was born in, ``ready``
with the others (or ``failed``), hears whether to ``go`` (not when a warm zygote brings the
program), says ``ended``.

In a sandbox it is not dumpable from its birth to its end: it sees the machine until its root is
built, its memory is a fork of the zygote's, and whoever is inside, or around it in an
environment's own namespaces, would else trace it or read it. So nobody can open its namespaces by
its pid either, and it hands them out itself. What it holds is its line and nothing more.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Optional, Sequence, Tuple

from bessemer.launcher import (
    command,
    confinement,
    limits,
    linux,
    processes,
    root,
    seccomp,
    sockets,
)
from bessemer.launcher.folder import Record
from bessemer.launcher.protocol import Closed, Line

_PARENT_DIED = signal.SIGRTMIN if hasattr(signal, "SIGRTMIN") else signal.SIGUSR1


#: The namespaces that are there from its birth, and those that it makes: in the order to enter.
EARLY, LATE = ("user", "ipc", "uts", "pid"), ("cgroup", "mnt")
#: Built with the zygote, so that no container waits for it.
_FILTER = seccomp.own_program()


def run(spec: Record, line: Line, log: int) -> None:
    """Be the init of this container; never returns."""
    signals = {*command.FORWARDED, signal.SIGCHLD, _PARENT_DIED}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        _prepare(spec, line, log)
        go = line.receive()
    except (OSError, KeyError) as error:
        line.send({"failed": "the container could not be set up: %s" % error})
        os._exit(1)
    except Closed:
        os._exit(1)
    child, failure = _start(spec, log) if go.get("go") else (0, None)
    os.close(log)
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


def _prepare(spec: Record, line: Line, log: int) -> None:
    linux.close_all_but((line.fileno(), log))  # the supervisor's lock least of all
    _tell(line, "here", EARLY if spec["sandbox"] else ())
    _let_go_of_streams()
    limits.join(spec["cgroups"]["paths"])
    if not spec["sandbox"]:
        if sys.platform == "linux":
            linux.become_subreaper()
            linux.die_with_parent(_PARENT_DIED)
        return _tell(line, "ready", ())
    # In its cgroup by now, so that this is the root of all that it can see of cgroups.
    linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWCGROUP)
    late = _open(LATE)
    linux.forbid_user_namespaces()
    root.build(spec)
    linux.sethostname(spec["hostname"])
    confinement.confine(_FILTER if spec["filtered"] else None, (line.fileno(), log, *late))
    linux.die_with_parent(signal.SIGKILL)
    sockets.guard(spec, line, {"ready": list(LATE)}, late)
    for descriptor in late:
        os.close(descriptor)
    return None


def _tell(line: Line, word: str, names: Sequence[str]) -> None:
    _send(line, word, names, _open(names))


def _open(names: Sequence[str]) -> Tuple[int, ...]:
    return tuple(linux.open_namespace(None, name) for name in names)


def _send(line: Line, word: str, names: Sequence[str], descriptors: Tuple[int, ...]) -> None:
    line.send({word: list(names)}, descriptors)
    for descriptor in descriptors:
        os.close(descriptor)


def _let_go_of_streams() -> None:
    """The zygote's own are the server's business."""
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.close(nothing)


def _start(spec: Record, log: int) -> Tuple[int, Optional[Tuple[int, str]]]:
    """Fork the command: its pid, or why it could not be run."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            command.settle(log)
            command.enter(spec["cwd"], make_folder=spec["makes_cwd"])
            linux.close_all_but((writer,))  # which the exec closes
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
