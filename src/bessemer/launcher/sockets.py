"""The supervisor's part in a container's sockets: it names each of them itself.

What ``bindings`` decides is done to the very socket, by a copy of its descriptor and with a name
of our own: a program that changes the name or the descriptor meanwhile changes nothing. To
*connect* is different: which of a pod's places its ``localhost`` means is a service to the pod
and no wall, so the name is corrected where it lies and the kernel goes on.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import signal
import socket
import struct
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Tuple, Union

from bessemer.launcher import bindings, linux, notification, protocol
from bessemer.launcher.bindings import Asked, Own, Refuse
from bessemer.launcher.notification import Call
from bessemer.launcher.protocol import Closed, Line

_LONGEST = 128  # bytes of any socket's name (struct sockaddr_storage)
_INTEGER = (1 << 32) - 1


def guard(
    spec: Dict[str, Any], line: Line, message: Dict[str, Any], descriptors: Tuple[int, ...] = ()
) -> None:
    """In what is to run the container's code: hand its calls over, and say so with the message.

    ``descriptors`` go along, before that by which the calls are answered.

    Raises:
        OSError: the kernel refused.
        Closed: nobody is there to answer them.
    """
    listeners = (notification.hand_over(),) if spec.get("sockets") else ()
    try:
        line.send(message, (*descriptors, *listeners))
    finally:
        for listener in listeners:
            os.close(listener)


if TYPE_CHECKING:  # not every system has both
    Poll = Union[select.poll, select.epoll]


class Sockets:
    """Answers the calls of one container, whose processes may have several listeners.

    Args:
        spec: of the container; without ``sockets`` there is nothing to do.
        poll: where the listeners are watched.
    """

    def __init__(self, spec: Dict[str, Any], poll: Poll) -> None:
        record = spec.get("sockets")
        self._own: Optional[Own] = bindings.read(record) if record else None
        self._poll = poll
        self._listeners: List[int] = []
        self._doors: Dict[int, Line] = {}
        self._forks: List[int] = []
        self._lookup: Optional[_Lookup] = None
        # Kept from before the container's namespaces are entered: its numbers are ours.
        self._proc = os.open("/proc", os.O_PATH | os.O_CLOEXEC) if record else -1

    def watch(self, listeners: List[int]) -> None:
        """Answer these too from now on."""
        for listener in listeners:
            self._listeners.append(listener)
            self._poll.register(listener, select.POLLIN)

    @property
    def is_needed(self) -> bool:
        """Whether somebody may still call."""
        return bool(self._listeners or self._doors)

    def expect(self, line: Line) -> None:
        """Answer also what ``guard`` will say on this line."""
        self._doors[line.fileno()] = line
        self._poll.register(line.fileno(), select.POLLIN)

    def close(self) -> None:
        """Leave no process behind. Who calls from now on is told that there is no such call."""
        for fork in self._forks:
            with contextlib.suppress(OSError):
                os.kill(fork, signal.SIGKILL)
                os.waitpid(fork, 0)
        for descriptor in [*self._listeners, *self._doors]:
            self._poll.unregister(descriptor)
        for listener in self._listeners:
            os.close(listener)
        for line in self._doors.values():
            line.connection.close()
        self._forks, self._listeners, self._doors = [], [], {}

    def take(self, descriptor: int, event: int) -> bool:
        """Do what has come in there if this is one of ours; else False."""
        if descriptor in self._doors:
            self._open(descriptor)
            return True
        if descriptor not in self._listeners:
            return False
        self._reap()
        if event & select.POLLIN:
            self._answer(descriptor)
        elif event:  # nobody is left who could call
            self._poll.unregister(descriptor)
            self._listeners.remove(descriptor)
            os.close(descriptor)
        return True

    def _open(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)
        line = self._doors.pop(descriptor)
        with contextlib.suppress(Closed):
            self.watch(line.receive_with_descriptors()[1])
        line.connection.close()

    def _reap(self) -> None:
        self._forks = [fork for fork in self._forks if _is_running(fork)]

    def _answer(self, listener: int) -> None:
        call = notification.receive(listener)
        if call is None:
            return
        try:
            own = self._find_own(call)
        except OSError as error:
            notification.answer(listener, call, error.errno or errno.EPERM)
            return
        if own is None:
            notification.let_go_on(listener, call)
            return
        calls = _numbers()
        if call.number in (calls.connect, calls.sendto):
            with contextlib.suppress(OSError, ValueError):
                self._correct(listener, call, own, 4 if call.number == calls.sendto else 1)
            notification.let_go_on(listener, call)
            return
        try:
            number = self._do(listener, call, own)
        except OSError as error:
            number = error.errno or errno.EPERM
        if number is not None:
            notification.answer(listener, call, number)

    def _find_own(self, _call: Call) -> Optional[Own]:
        """What is the caller's; None: all of the machine."""
        return self._own

    def _find_leader(self, thread: int) -> int:
        return notification.read_status(thread, "Tgid", self._proc)

    def _find_number(self, call: Call) -> int:
        """The caller's number in /proc."""
        return call.thread

    @contextlib.contextmanager
    def _open_thread(self, call: Call) -> Iterator[int]:
        pidfd = notification.open_thread(call.thread, self._find_leader)
        try:
            yield pidfd
        finally:
            os.close(pidfd)

    def _take_socket(self, call: Call) -> socket.socket:
        number = ctypes.c_int(call.arguments[0] & _INTEGER).value
        with self._open_thread(call) as pidfd:
            taken = notification.take_descriptor(pidfd, number)
        try:
            return socket.socket(fileno=taken)
        except OSError:  # it is none
            os.close(taken)
            raise

    def _do(self, listener: int, call: Call, own: Own) -> Optional[int]:
        """Bind or listen: the error's number; None if somebody else answers."""
        with self._take_socket(call) as sock:
            if call.number == _numbers().listen:
                # Only now it is sure that the socket was the caller's, not of who got its number.
                if not notification.is_waiting(listener, call):
                    return errno.EINTR
                return _listen(sock, call, own)
            length = call.arguments[2] & _INTEGER
            if length > _LONGEST:
                return errno.EINVAL
            name = notification.read_memory(call.thread, call.arguments[1], length)
            if not notification.is_waiting(listener, call):
                return errno.EINTR
            if sock.family == socket.AF_UNIX and name[2:3] not in (b"", b"\0"):
                fork = os.fork()
                if fork == 0:
                    self._name_in_place(listener, call, sock, name)
                self._forks.append(fork)
                return None
            return _bind(sock, _ask(sock, name), own)

    def _name_in_place(self, listener: int, call: Call, sock: socket.socket, name: bytes) -> None:
        """In a fork of its own: make the socket's file where the caller is, with its rights."""
        try:
            number = errno.EACCES
            flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
            caller = self._find_number(call)
            root, place = (
                os.open("%d/%s" % (caller, what), flags, dir_fd=self._proc)
                for what in ("root", "cwd")
            )
            mask = notification.read_status(caller, "Umask", self._proc, 8)
            if notification.is_waiting(listener, call):
                notification.hide()  # it is among the container's processes, and holds much
                os.fchdir(root)
                os.chroot(".")
                os.fchdir(place)
                linux.drop_privileges()
                os.umask(mask)
                number = notification.name_socket(sock.fileno(), name)
        except OSError as error:
            number = error.errno or errno.EACCES
        finally:
            notification.answer(listener, call, number)
            os._exit(0)

    def _correct(self, listener: int, call: Call, own: Own, argument: int) -> None:
        """Have a call for localhost go to the pod's own place of that name, if it has one."""
        address, length = call.arguments[argument], call.arguments[argument + 1] & _INTEGER
        name = notification.read_memory(call.thread, address, min(length, _LONGEST))
        places = bindings.reach(name, own)
        if not places:
            return
        with self._take_socket(call) as sock:
            if self._lookup is None:
                self._lookup = _Lookup()
            port = bindings.find_port(name) or 0
            kind = socket.IPPROTO_UDP if _is_datagram(sock) else socket.IPPROTO_TCP
            for place, other in places:
                if self._lookup.is_bound(kind, place, port):
                    if sock.family == socket.AF_INET6:
                        with contextlib.suppress(OSError):  # it is connected already
                            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                    if notification.is_waiting(listener, call):
                        notification.write_memory(call.thread, address, other[:length])
                    return


def _is_running(fork: int) -> bool:
    try:
        return os.waitpid(fork, os.WNOHANG)[0] == 0
    except ChildProcessError:
        return False


def _numbers() -> notification.Calls:
    return notification.CALLS[os.uname().machine]


def _is_datagram(sock: socket.socket) -> bool:
    return sock.type == socket.SOCK_DGRAM


def _ask(sock: socket.socket, name: bytes) -> Asked:
    only6 = sock.family == socket.AF_INET6 and bool(
        sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    )
    return Asked(sock.family, _is_datagram(sock), only6, name)


def _bind(sock: socket.socket, asked: Asked, own: Own) -> int:
    return _apply(sock, bindings.decide(asked, own))


def _apply(sock: socket.socket, verdict: bindings.Verdict) -> int:
    if isinstance(verdict, Refuse):
        return verdict.number
    if verdict.widen:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    return notification.name_socket(sock.fileno(), verdict.name)


def _listen(sock: socket.socket, call: Call, own: Own) -> int:
    """A socket without a name gets one here, which the kernel would choose among all."""
    name = notification.find_name(sock.fileno())
    if bindings.find_port(name) == 0:
        number = _apply(sock, bindings.any_port(_ask(sock, name), own))
        if number:
            return number
    number = notification.begin_listening(
        sock.fileno(), ctypes.c_int(call.arguments[1] & _INTEGER).value
    )
    # After it, for another thread may have let go of the name meanwhile.
    if number == 0 and not bindings.is_own(notification.find_name(sock.fileno()), own):
        notification.disconnect(sock.fileno())
        return errno.EADDRINUSE
    return number


class _Lookup:
    """Asks the kernel which socket has a place (sock_diag(7))."""

    _REQUEST = struct.Struct("=IHHII BBBBI 2s2s 16s16s III")
    _FAMILY_AND_STATE, _SOURCE = struct.Struct("=16xB"), slice(24, 40)
    _BY_FAMILY, _ASKS, _ERROR = 20, 1, 2
    _NETLINK_SOCK_DIAG = 4

    def __init__(self) -> None:
        self._line = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, self._NETLINK_SOCK_DIAG)
        self._line.bind((0, 0))

    def is_bound(self, protocol: int, address: bytes, port: int) -> bool:
        """Whether a socket waits at this very address, whatever is at all addresses."""
        here, there = (struct.pack("!H", port), address.ljust(16, b"\0")), (b"\0\0", bytes(16))
        if protocol == socket.IPPROTO_UDP:  # which has them the other way round
            here, there = there, here
        request = self._REQUEST.pack(
            self._REQUEST.size, self._BY_FAMILY, self._ASKS, 1, 0,
            socket.AF_INET, protocol, 0, 0, _INTEGER,
            here[0], there[0], here[1], there[1], 0, _INTEGER, _INTEGER,
        )  # fmt: skip
        self._line.send(request)
        reply = self._line.recv(4096)
        if struct.unpack_from("=H", reply, 4)[0] != self._BY_FAMILY:
            return False
        family, found = reply[16], reply[24:40]
        return found[12:] == address if family == socket.AF_INET6 else found[:4] == address


def answer_trial(_request: Dict[str, Any], asker: Line) -> None:
    """Say whether this machine lets one process name another's sockets, by trying it."""
    try:
        problem = _try()
    except (OSError, Closed) as error:
        problem = str(error) or "the trial ended"
    asker.send({"problem": problem})


def _try() -> str:
    record = {"address": "127.0.0.1", "localhost": "127.0.0.1", "localhost6": "127.0.0.1"}
    spec = {"sockets": {**record, "reserved": []}}
    ours, theirs = protocol.pair()
    child = os.fork()
    if child == 0:
        try:
            guard(spec, theirs, {})
            with socket.socket() as sock:
                sock.bind(("", 0))
                os._exit(0 if sock.getsockname()[0] == "127.0.0.1" else 1)
        finally:
            os._exit(1)
    theirs.connection.close()
    poll = select.poll()
    sockets = Sockets(spec, poll)
    sockets.expect(ours)
    while sockets.is_needed:
        for descriptor, event in poll.poll():
            sockets.take(descriptor, event)
    status = os.waitpid(child, 0)[1]
    return "" if status == 0 else "seccomp's user notification does not work"
