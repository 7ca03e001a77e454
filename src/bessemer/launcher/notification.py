"""The system calls of a container that its supervisor answers: seccomp's user notification.

A filter is a short program of the kernel's own that looks at the number of each system call and
its arguments; ours hands those over by which a socket gets a name or looks for one, and forbids
the ways around it (io_uring, the calls of other architectures). It stays with a process and all
that it starts. Source: seccomp(2), seccomp_unotify(2), linux/seccomp.h, linux/filter.h.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from typing import Callable, List, NamedTuple, Optional, Tuple

_libc = ctypes.CDLL(None, use_errno=True)
_word = ctypes.c_ulong

_SYS_SECCOMP = {"x86_64": 317, "aarch64": 277}
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_SYS_PIDFD_OPEN = 434
_SYS_PIDFD_GETFD = 438
_SET_MODE_FILTER = 1
_NEW_LISTENER = 0x8
_SPEC_ALLOW = 0x4  # without it, kernels before 5.16 slow a filtered process down
_WAIT_KILLABLE = 0x20  # since 5.19: a signal does not make a call begin anew that is answered
_PIDFD_THREAD = os.O_EXCL  # since 6.9

_ALLOW = 0x7FFF0000
_NOTIFY = 0x7FC00000
_ERROR = 0x00050000

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_INSTRUCTION = struct.Struct("=HBBI")
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # where they are in struct seccomp_data

#: A name of fewer bytes is none of IPv4 or IPv6.
_SHORTEST = 16
#: What programs give as the length of a name: of IPv4, of IPv6, of any.
_LENGTHS = (16, 28, 128)
_LONGEST = 128
_IO_URING = (425, 426, 427)
_X32 = 0x40000000


class Calls(NamedTuple):
    """The numbers of an architecture."""

    architecture: int
    bind: int
    listen: int
    connect: int
    sendto: int


CALLS = {
    "x86_64": Calls(0xC000003E, bind=49, listen=50, connect=42, sendto=44),
    "aarch64": Calls(0xC00000B7, bind=200, listen=201, connect=203, sendto=206),
}
#: What programs of 32 bits would call instead: socketcall, bind, listen.
_OTHERS = {
    "x86_64": (0x40000003, (102, 361, 363, *_IO_URING)),
    "aarch64": (0x40000028, (282, 284, *_IO_URING)),
}


def _program(machine: str) -> List[Tuple[int, int, int, int]]:
    """The filter: (code, jump if true, jump if false, operand) a line."""
    calls = CALLS[machine]
    other, forbidden = _OTHERS[machine]
    lines = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 0, 2 + 2 * len(forbidden), other)]
    lines.append((_LOAD, 0, 0, _NUMBER))
    lines += _answer(forbidden, _ERROR | errno.EPERM)
    lines.append((_RETURN, 0, 0, _ALLOW))
    lines += [(_EQUAL, 1, 0, calls.architecture), (_RETURN, 0, 0, _ERROR | errno.ENOSYS)]
    lines.append((_LOAD, 0, 0, _NUMBER))
    if machine == "x86_64":
        lines += [(_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _ERROR | errno.ENOSYS)]
    lines += _answer(_IO_URING, _ERROR | errno.EPERM)
    lines += _answer((calls.listen,), _NOTIFY)
    lines += _notify_if(calls.bind, 2, [(_AT_LEAST, 0, 1, _SHORTEST)])
    for number, argument in ((calls.connect, 2), (calls.sendto, 5)):
        lines += _notify_if(number, argument, [(_EQUAL, 0, 1, length) for length in _LENGTHS])
    lines.append((_RETURN, 0, 0, _ALLOW))
    return lines


def _answer(numbers: Tuple[int, ...], action: int) -> List[Tuple[int, int, int, int]]:
    return [
        line for number in numbers for line in ((_EQUAL, 0, 1, number), (_RETURN, 0, 0, action))
    ]


def _notify_if(
    number: int, argument: int, tests: List[Tuple[int, int, int, int]]
) -> List[Tuple[int, int, int, int]]:
    """Hand over the call if a test holds of the lower half of that argument."""
    lines = [(_LOAD, 0, 0, _ARGUMENTS + 8 * argument)]
    for test in tests:
        lines += [test, (_RETURN, 0, 0, _NOTIFY)]
    lines.append((_RETURN, 0, 0, _ALLOW))
    return [(_EQUAL, 0, len(lines), number), *lines]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("lines", ctypes.c_void_p))


def hand_over() -> int:
    """Filter this process and what it will start; a descriptor of the calls to be answered.

    Nobody in the container may have the descriptor.

    Raises:
        OSError: the kernel has no such thing, or there is no table for this machine.
    """
    machine = os.uname().machine
    if machine not in CALLS:
        raise OSError(errno.ENOSYS, "no table of system calls", machine)
    _control(_PR_SET_NO_NEW_PRIVS, 1)
    lines = [_INSTRUCTION.pack(*line) for line in _program(machine)]
    buffer = ctypes.create_string_buffer(b"".join(lines))
    program = _Program(len(lines), ctypes.addressof(buffer))
    result = -1
    for extra in (_WAIT_KILLABLE, 0):
        result = _libc.syscall(
            _word(_SYS_SECCOMP[machine]), _word(_SET_MODE_FILTER),
            _word(_NEW_LISTENER | _SPEC_ALLOW | extra), ctypes.byref(program),
        )  # fmt: skip
        if result != -1 or ctypes.get_errno() != errno.EINVAL:
            break
    return _check("seccomp", result)


def _check(what: str, result: int) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, "%s: %s" % (what, os.strerror(number)))
    return result


def hide() -> None:
    """Let nobody of the same user look into this process or trace it."""
    _control(_PR_SET_DUMPABLE, 0)


def show() -> None:
    """As a program is after its exec: what answers its calls has to look into it."""
    _control(_PR_SET_DUMPABLE, 1)


def _control(option: int, value: int) -> None:
    nothing = _word(0)
    _check("prctl", _libc.prctl(option, _word(value), nothing, nothing, nothing))


class Call(NamedTuple):
    """A system call that waits."""

    id: int
    thread: int  # in the namespace of who answers
    number: int
    arguments: Tuple[int, ...]


_NOTIFICATION = struct.Struct("=QIIiIQ6Q")
_RESPONSE = struct.Struct("=QqiI")
_ID = struct.Struct("=Q")
_RECEIVE, _SEND, _IS_VALID = 0xC0502100, 0xC0182101, 0x40082102
_CONTINUE = 1


def receive(listener: int) -> Optional[Call]:
    """The next call; None: who made it has ended."""
    buffer = bytearray(_NOTIFICATION.size)
    try:
        fcntl.ioctl(listener, _RECEIVE, buffer)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINTR):
            return None
        raise
    number, thread, _, call, _, _, *arguments = _NOTIFICATION.unpack(buffer)
    return Call(number, thread, call, tuple(arguments))


def is_waiting(listener: int, call: Call) -> bool:
    """Whether the caller is still there, so that what was read of its number was its own."""
    try:
        fcntl.ioctl(listener, _IS_VALID, _ID.pack(call.id))
    except OSError:
        return False
    return True


def answer(listener: int, call: Call, number: int) -> None:
    """Have the call return: 0, or with an error."""
    _send(listener, _RESPONSE.pack(call.id, 0, -number, 0))


def let_go_on(listener: int, call: Call) -> None:
    """Have the kernel do the call. Whatever was looked at may be another by then."""
    _send(listener, _RESPONSE.pack(call.id, 0, 0, _CONTINUE))


def _send(listener: int, response: bytes) -> None:
    try:
        fcntl.ioctl(listener, _SEND, response)
    except OSError as error:
        if error.errno != errno.ENOENT:  # who called has ended
            raise


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def read_memory(thread: int, address: int, length: int) -> bytes:
    """Bytes of another process. Raises OSError."""
    buffer = ctypes.create_string_buffer(length)
    _move(_libc.process_vm_readv, thread, buffer, address)
    return buffer.raw


def write_memory(thread: int, address: int, data: bytes) -> None:
    """Put bytes into another process, where it may write itself. Raises OSError."""
    _move(_libc.process_vm_writev, thread, ctypes.create_string_buffer(data, len(data)), address)


def _move(
    how: Callable[..., int], thread: int, buffer: ctypes.Array[ctypes.c_char], address: int
) -> None:
    length = len(buffer)
    ours, theirs = _Vector(ctypes.addressof(buffer), length), _Vector(address, length)
    moved = how(thread, ctypes.byref(ours), _word(1), ctypes.byref(theirs), _word(1), _word(0))
    if _check("process_vm", moved) != length:
        raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))


def open_thread(thread: int, find_leader: Callable[[int], int]) -> int:
    """A pidfd of a thread; of its process, where the kernel has none for threads.

    Args:
        thread: in this process's own namespace.
        find_leader: the pid of the process of a thread.
    """
    pidfd = _libc.syscall(_word(_SYS_PIDFD_OPEN), ctypes.c_int(thread), _word(_PIDFD_THREAD))
    if pidfd == -1 and ctypes.get_errno() == errno.EINVAL:
        leader = find_leader(thread)
        pidfd = _libc.syscall(_word(_SYS_PIDFD_OPEN), ctypes.c_int(leader), _word(0))
    return _check("pidfd_open", pidfd)


def read_pid(pidfd: int) -> int:
    """Whose the pidfd is, by its number in /proc. Raises OSError."""
    with open("/proc/self/fdinfo/%d" % pidfd, encoding="ascii") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name == "Pid" and int(value) > 0:
                return int(value)
    raise OSError(errno.ESRCH, os.strerror(errno.ESRCH))


def take_descriptor(pidfd: int, number: int) -> int:
    """A copy of one of another process's descriptors."""
    taken = _libc.syscall(
        _word(_SYS_PIDFD_GETFD), ctypes.c_int(pidfd), ctypes.c_int(number), _word(0)
    )
    return _check("pidfd_getfd", taken)


def read_status(thread: int, key: str, proc: int, base: int = 10) -> int:
    """A number of a thread's status. Raises OSError."""
    with open(os.open("%d/status" % thread, os.O_RDONLY, dir_fd=proc), encoding="ascii") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name == key:
                return int(value, base)
    raise OSError(errno.ESRCH, os.strerror(errno.ESRCH))


def name_socket(descriptor: int, name: bytes) -> int:
    """bind(2) with a name as it is; the error's number, or 0."""
    result: int = _libc.bind(descriptor, name, ctypes.c_uint(len(name)))
    return ctypes.get_errno() if result == -1 else 0


def begin_listening(descriptor: int, backlog: int) -> int:
    """listen(2) with any number; the error's number, or 0."""
    result: int = _libc.listen(descriptor, ctypes.c_int(backlog))
    return ctypes.get_errno() if result == -1 else 0


def disconnect(descriptor: int) -> None:
    """End what the socket does, its listening too."""
    _libc.connect(descriptor, bytes(16), ctypes.c_uint(16))


def find_name(descriptor: int) -> bytes:
    """getsockname(2) as it is. Raises OSError."""
    buffer = ctypes.create_string_buffer(_LONGEST)
    length = ctypes.c_uint(_LONGEST)
    result = _libc.getsockname(descriptor, buffer, ctypes.byref(length))
    _check("getsockname", result)
    return buffer.raw[: length.value]
