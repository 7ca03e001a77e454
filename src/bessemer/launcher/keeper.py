"""PID 1 of a warm zygote's pid namespace: keeps the zygote, and ends what it leaves behind.

It runs our code alone, in the machine's mount namespace, and nothing in the zygote can trace it,
for it keeps all rights in the zygote's user namespace, where nobody else has any. (It can't be
undumpable, as inits are: supervisors of an ordinary user open its namespaces by its pid.)
The zygote goes when the base zygote does, when it was told to (by the runtime, which knows whether
somebody asked lately), or when it uses more than it may. Its forks that wait for a program go with
that program. When no process is left in the namespace, containers included, the keeper ends.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import socket
import time
from enum import Enum
from typing import Any, Dict, List, Optional, Set, Tuple

from bessemer.launcher import limits, linux, processes, tenants
from bessemer.launcher.folder import Record
from bessemer.launcher.protocol import Line

#: The base zygote is gone; and: the runtime wants the end at once.
_ORPHANED, _TOLD = signal.SIGHUP, signal.SIGTERM
HEEDED = (_ORPHANED, _TOLD, signal.SIGCHLD)
#: Seconds between looks: at what is used, and at what is left.
_WATCH, _LOOK = 1.0, 1.0
#: How long supervisors that had reached the zygote get to make their container, in seconds.
_LINGER = 5.0
#: How many looks a process may be without a program: its fork is made in between, or it tells
#: of its end.
_MOST_LOOKS = 3


class _State(Enum):
    SERVING = "the zygote runs"
    ENDING = "the zygote is gone; forks of it may wait for their programs"


def die_with_parent() -> None:
    """Hear of the base zygote's end."""
    for number in HEEDED:
        signal.signal(number, _nothing)
    linux.die_with_parent(_ORPHANED)


def _nothing(_number: int, _frame: Any) -> None:
    pass  # to be woken is enough


def own_pid() -> int:
    """This process's pid in the namespace of /proc, which is the machine's."""
    return int(os.readlink("/proc/self"))


class Keeper:
    """Keeps one environment's zygote, and answers for the programs forked from it.

    Args:
        zygote: its pid in this namespace.
        listeners: where it is asked, and where this keeper is told of its containers.
        line: on which it hands over the calls that are to be answered.
        request: what it was started by: ``limits``, ``cgroups``.
    """

    def __init__(
        self,
        zygote: int,
        listeners: Tuple[socket.socket, socket.socket],
        line: Line,
        group: limits.Cgroup,
        request: Record,
    ) -> None:
        self._zygote = zygote
        self._listener, registrar = listeners
        self._group = group
        self._events = select.epoll()
        self._sockets = tenants.TenantSockets(registrar, self._events)
        self._sockets.expect(line)
        held = list(request["cgroups"]["paths"])
        self._limits: Dict[str, Any] = {} if "memory" in held else request["limits"]
        self._state = _State.SERVING
        self._ends = 0.0
        self._linger = _LINGER
        self._looks: Dict[int, int] = {}  # pid on the machine -> without a program so far
        self._heard: Set[int] = set()

    def run(self) -> None:
        """Keep it until nothing is left."""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer)
        self._events.register(reader, select.EPOLLIN)
        pause: Optional[float] = 0.0  # it may have ended already
        due = 0.0
        while not self._is_over():
            events = self._events.poll(pause)
            others = [each for each in events if not self._sockets.take(*each)]
            if events and not others and time.monotonic() < due:
                continue  # a call was answered, and nothing else is new
            if others:
                with contextlib.suppress(BlockingIOError):
                    self._heard.update(os.read(reader, 512))
            self._reap()
            if self._state is _State.SERVING and self._must_end():
                self._end_zygote()
            elif self._state is _State.ENDING:
                self._end_strays()
            pause = self._pause()
            due = math.inf if pause is None else time.monotonic() + pause
        self._group.remove()
        os._exit(0)

    def _pause(self) -> Optional[float]:
        if self._state is _State.ENDING:
            return _LOOK if _others() else 0.05
        return _WATCH if self._limits else None

    def _is_over(self) -> bool:
        if self._state is _State.SERVING or _others():
            return False
        return time.monotonic() >= self._ends + self._linger

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid = os.waitpid(-1, os.WNOHANG)[0]
                if pid == 0:
                    break
                if pid == self._zygote:
                    self._zygote = 0

    def _must_end(self) -> bool:
        if self._zygote == 0 or self._heard & {_TOLD, _ORPHANED}:
            return True
        return bool(self._limits) and self._uses_too_much()

    def _uses_too_much(self) -> bool:
        own = _own_processes()
        memory = sum(processes.memory(pid) for pid in own)
        return bool(memory > self._limits["memory"] or len(own) > self._limits["processes"])

    def _end_zygote(self) -> None:
        """Nobody reaches it any more; its own process goes at once."""
        self._state, self._ends = _State.ENDING, time.monotonic()
        self._listener.close()
        if self._zygote:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._zygote, signal.SIGKILL)
        self._end_strays()

    def _end_strays(self) -> None:
        """Kill what is in the namespace itself and has had no program for some looks."""
        own = _own_processes()
        idle = {pid: inside for pid, inside in own.items() if not _has_program(pid)}
        self._looks = {pid: self._looks.get(pid, 0) + 1 for pid in idle}
        for pid, looks in self._looks.items():
            if looks > _MOST_LOOKS:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(idle[pid], signal.SIGKILL)
        if _TOLD in self._heard:
            self._linger = 0.0


def _others() -> bool:
    """Whether any other process is in this namespace, or in one beneath it."""
    try:
        os.kill(-1, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _own_processes() -> Dict[int, int]:
    """Pid on the machine -> pid in this namespace, of the processes that are in no other one."""
    depth = len(_pids("self"))
    found = {}
    for pid in processes.descendants(own_pid()):
        numbers = _pids(str(pid))
        if len(numbers) == depth:
            found[pid] = numbers[-1]
    return found


def _has_program(pid: int) -> bool:
    """Whether it waits for a living process of a container."""
    depth = len(_pids("self"))
    return any(len(_pids(str(child))) > depth for child in processes.children(pid))


def _pids(process: str) -> List[int]:
    """Its pids from the machine's namespace inwards; none when it has ended."""
    try:
        with open("/proc/%s/status" % process, encoding="utf-8", errors="replace") as file:
            lines = dict(line.split(":", 1) for line in file if ":" in line)
    except OSError:
        return []
    if lines["State"].split()[0] in ("Z", "X"):
        return []
    return [int(word) for word in lines["NSpid"].split()]
