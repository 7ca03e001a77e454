"""Whose the sockets of a warm zygote's programs are, as the zygote's keeper answers for them.

The code of an environment runs in its zygote, so no fork of that can be trusted to hand its calls
over: the zygote's own filter does, in force before the environment's Python starts, and the forks
inherit it. One filter has one listener, so the keeper answers for all of them. It tells them apart
by the pid namespace that they are in, and a supervisor tells it beforehand what belongs to whom is
in its container's.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from typing import TYPE_CHECKING, Any, Dict, Optional, Tuple

from bessemer.launcher import bindings, notification, processes
from bessemer.launcher.bindings import Own
from bessemer.launcher.notification import Call
from bessemer.launcher.protocol import Closed, Line
from bessemer.launcher.sockets import Sockets

if TYPE_CHECKING:
    from bessemer.launcher.sockets import Poll

#: Beside the socket where a zygote is asked: where its keeper is told.
SUFFIX = ".own"
#: How long either side may take to say its one thing, in seconds.
_PATIENCE = 5.0
_Namespace = Tuple[int, int]


def register(path: str, record: Optional[Dict[str, Any]], namespace: int) -> Line:
    """Tell the keeper what is the own of whoever is in a pid namespace, while the line is open.

    Raises:
        OSError, Closed: the keeper does not hear.
    """
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_PATIENCE)
    line = Line(connection)
    try:
        connection.connect(path + SUFFIX)
        line.send({"own": record}, (namespace,))
    except (OSError, Closed):
        connection.close()
        raise
    return line


def confirm(line: Line) -> bool:
    """Wait until the keeper has taken note of ``register``."""
    try:
        line.receive(_PATIENCE)
    except Closed:
        return False
    return True


class TenantSockets(Sockets):
    """Answers the calls of a zygote and of its forks in several containers.

    Args:
        registrar: where supervisors tell what is whose.
        poll: where the registrar and the listener are watched.
    """

    def __init__(self, registrar: socket.socket, poll: Poll) -> None:
        super().__init__({}, poll)
        self._proc = os.open("/proc", os.O_PATH | os.O_CLOEXEC)
        self._registrar = registrar
        self._tenants: Dict[_Namespace, Optional[Own]] = {}
        self._lines: Dict[int, Tuple[Line, Optional[_Namespace]]] = {}
        poll.register(registrar.fileno(), select.POLLIN)

    def take(self, descriptor: int, event: int) -> bool:
        """As ``Sockets`` does, and hear supervisors."""
        if descriptor == self._registrar.fileno():
            line = Line(self._registrar.accept()[0])
            self._lines[line.fileno()] = line, None
            self._poll.register(line.fileno(), select.POLLIN)
            return True
        if descriptor in self._lines:
            self._hear(descriptor)
            return True
        return super().take(descriptor, event)

    def _hear(self, descriptor: int) -> None:
        line, known = self._lines[descriptor]
        if known is None:
            try:
                message, descriptors = line.receive_with_descriptors(_PATIENCE)
                (namespace,) = descriptors
                told = os.fstat(namespace)
                os.close(namespace)
                known = told.st_dev, told.st_ino
                own = message["own"]
                self._tenants[known] = bindings.read(own) if own else None
                self._lines[descriptor] = line, known
                line.send({"known": True})
            except Closed:
                pass
            else:
                return
        # It says no more, so this is the container's end.
        if known is not None:
            self._tenants.pop(known, None)
        del self._lines[descriptor]
        self._poll.unregister(descriptor)
        line.connection.close()

    def _find_own(self, call: Call) -> Optional[Own]:
        found = os.stat("%d/ns/pid" % self._find_number(call), dir_fd=self._proc)
        try:
            return self._tenants[found.st_dev, found.st_ino]
        except KeyError:  # the zygote itself, or what is left of a container
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL)) from None

    def _find_number(self, call: Call) -> int:
        with self._open_thread(call) as pidfd:
            return notification.read_pid(pidfd)

    def _find_leader(self, thread: int) -> int:
        """For kernels without pidfds of threads, which are all looked through."""
        depth = len(_numbers("self"))
        for pid in processes.descendants(int(os.readlink("/proc/self"))):
            for task in _list("/proc/%d/task" % pid):
                numbers = _numbers("%d/task/%s" % (pid, task))
                if len(numbers) >= depth and int(numbers[depth - 1]) == thread:
                    return int(_numbers(str(pid))[depth - 1])
        raise OSError(errno.ESRCH, os.strerror(errno.ESRCH))


def _list(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _numbers(process: str) -> list[str]:
    """Its numbers from the machine's namespace inwards."""
    try:
        with open("/proc/%s/status" % process, encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("NSpid:"):
                    return line.split()[1:]
    except OSError:
        pass
    return []
