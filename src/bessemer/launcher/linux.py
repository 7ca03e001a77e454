"""The Linux calls that Python's standard library lacks, by ctypes; each raises OSError."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import sys
from typing import Iterable

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_SLAVE = 0x80000
MNT_DETACH = 0x2

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522

# The same numbers on every architecture.
_SYS_OPEN_TREE = 428
_SYS_MOVE_MOUNT = 429
_SYS_OPENAT2 = 437
_SYS_MOUNT_SETATTR = 442
_SYS_CLOSE_RANGE = 436
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_SYS_CLONE = {"x86_64": 56, "aarch64": 220}
_SYS_KEYCTL = {"x86_64": 250, "aarch64": 219}
_SYS_SECCOMP = {"x86_64": 317, "aarch64": 277}
_CLONE_PARENT = 0x8000
_KEYCTL_JOIN_SESSION_KEYRING = 1
_SECCOMP_SET_MODE_FILTER = 1
#: Without it, kernels before 5.16 slow a filtered process down for a weakness of processors.
_SECCOMP_FILTER_FLAG_SPEC_ALLOW = 4
_LAST_DESCRIPTOR = 0xFFFFFFFF
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_AT_FDCWD = -100
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_BY_DESCRIPTORS = 0x4 | 0x40  # F_EMPTY_PATH, T_EMPTY_PATH
_RESOLVE_BENEATH = 0x08
_RESOLVE_IN_ROOT = 0x10

_libc = ctypes.CDLL(None, use_errno=True)
_libc_holding_gil = ctypes.PyDLL(None, use_errno=True)
_word = ctypes.c_ulong
_libc.prctl.argtypes = (ctypes.c_int, _word, _word, _word, _word)


def _call(what, result):
    # type: (str, int) -> int
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, "%s: %s" % (what, os.strerror(number)))
    return result


def unshare(flags: int) -> None:
    """Leave some namespaces for fresh ones."""
    _call("unshare(%#x)" % flags, _libc.unshare(ctypes.c_int(flags)))


def setns(fd: int, kind: int) -> None:
    """Enter the namespace behind the descriptor."""
    _call("setns(%#x)" % kind, _libc.setns(ctypes.c_int(fd), ctypes.c_int(kind)))


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else os.fsencode(text)


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """Mount by the system call."""
    result = _libc.mount(
        _bytes(source), _bytes(target), _bytes(kind), _word(flags), _bytes(data or None)
    )
    _call("mount %s on %s" % (source or kind or "", target), result)


def umount(target: str, flags: int) -> None:
    """umount2(2)."""
    _call("umount %s" % target, _libc.umount2(_bytes(target), ctypes.c_int(flags)))


def pivot_root(new: str, old: str) -> None:
    """Make ``new`` the root of this mount namespace and hang the former one at ``old``."""
    number = _SYS_PIVOT_ROOT[os.uname().machine]
    _call("pivot_root %s" % new, _libc.syscall(_word(number), _bytes(new), _bytes(old)))


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns", ctypes.c_uint64),
    )


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


def _open_place(folder: int, path: str, resolve: int) -> int:
    how = _OpenHow(flags=os.O_PATH | os.O_CLOEXEC, resolve=resolve)
    size = _word(ctypes.sizeof(how))
    while True:
        result: int = _libc.syscall(
            _word(_SYS_OPENAT2), ctypes.c_long(folder), _bytes(path), ctypes.byref(how), size
        )
        # EAGAIN: something was renamed meanwhile, so the kernel can't tell where ".." leads.
        if result != -1 or ctypes.get_errno() != errno.EAGAIN:
            return _call("open %s" % path, result)


def open_in_root(folder: int, path: str) -> int:
    """A descriptor of what the path means to one whose root the folder is.

    The kernel walks it at once: whatever others do meanwhile, it ends in the folder.
    """
    return _open_place(folder, path, _RESOLVE_IN_ROOT)


def open_beneath(folder: int, path: str) -> int:
    """As ``open_in_root``, but a path or link that leads out of the folder is an error (EXDEV)."""
    return _open_place(folder, path, _RESOLVE_BENEATH)


def clone_tree(folder: int | None, path: str) -> int:
    """A descriptor of a copy, mounted nowhere yet, of what is at the path and all beneath it.

    An empty path means the folder itself.
    """
    result: int = _libc.syscall(
        _word(_SYS_OPEN_TREE),
        ctypes.c_long(_AT_FDCWD if folder is None else folder),
        _bytes(path),
        _word(_OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_RECURSIVE | _AT_EMPTY_PATH),
    )
    return _call("open_tree %s" % path, result)


def set_mount_flags(tree: int, flags: int) -> None:
    """Give these MS_ flags to all mounts of a tree of ``clone_tree``."""
    # MS_RDONLY, MS_NOSUID, MS_NODEV and MS_NOEXEC have the values of their MOUNT_ATTR_ twins.
    attributes = _MountAttributes(set=flags)
    result = _libc.syscall(
        _word(_SYS_MOUNT_SETATTR),
        ctypes.c_long(tree),
        b"",
        _word(_AT_RECURSIVE | _AT_EMPTY_PATH),
        ctypes.byref(attributes),
        _word(ctypes.sizeof(attributes)),
    )
    _call("mount_setattr", result)


def attach_tree(tree: int, place: int) -> None:
    """Mount a tree of ``clone_tree`` on what the other descriptor stands for."""
    result = _libc.syscall(
        _word(_SYS_MOVE_MOUNT),
        ctypes.c_long(tree),
        b"",
        ctypes.c_long(place),
        b"",
        _word(_MOVE_MOUNT_BY_DESCRIPTORS),
    )
    _call("move_mount", result)


def sethostname(name: str) -> None:
    """Name this UTS namespace."""
    raw = os.fsencode(name)[:64]
    _call("sethostname", _libc.sethostname(raw, ctypes.c_size_t(len(raw))))


def _prctl(option: int, value: int = 0) -> None:
    _call("prctl(%d, %d)" % (option, value), _libc.prctl(option, value, 0, 0, 0))


def die_with_parent(signum: int) -> None:
    """Have the kernel send this signal when the parent ends."""
    _prctl(_PR_SET_PDEATHSIG, signum)


def set_dumpable(*, dumpable: bool) -> None:
    """Whether others of the same user may trace this process and look into it in /proc.

    While it is not dumpable, only who has CAP_SYS_PTRACE in the user namespace that its program
    was started in may: nobody in a container, nor in a namespace around it. Forks inherit that,
    and an exec ends it. The owner's right to write its id maps is gone meanwhile, too.
    """
    _prctl(_PR_SET_DUMPABLE, int(dumpable))


def fork_sibling() -> int:
    """As fork, but the child's parent is this process's own parent; for a single-threaded one.

    It lets a process whose pid namespace differs make children for one that stays outside.
    """
    number = _SYS_CLONE[os.uname().machine]
    nothing = _word(0)
    # Python's own fork would do more for its threads, of which there are none. The call must not
    # let go of the interpreter's lock, for in the child nobody would be there to give it back.
    result = _libc_holding_gil.syscall(
        _word(number), _word(_CLONE_PARENT | signal.SIGCHLD), nothing, nothing, nothing, nothing
    )
    return _call("clone", result)


def close_all_but(kept: Iterable[int]) -> None:
    """Close every descriptor but the standard streams and these."""
    first = 3
    for last in (*sorted(kept), _LAST_DESCRIPTOR + 1):
        if first < last:
            _close_range(first, last - 1)
        first = max(first, last + 1)


def _close_range(first: int, last: int) -> None:
    if sys.platform == "linux":
        numbers = (_word(first), _word(last), _word(0))
        if _libc.syscall(_word(_SYS_CLOSE_RANGE), *numbers) == 0:
            return
    for name in os.listdir("/dev/fd"):  # before Linux 5.9, and on other systems
        if first <= int(name) <= last:
            with contextlib.suppress(OSError):
                os.close(int(name))


def join_session_keyring() -> None:
    """Have a session keyring of our own, and the one of whoever started us no more.

    Where none can be had (no keys in this kernel, or the user's quota is used up) the zygote's
    own one stays, which nobody puts a key in; and no container may call for a key anyway.
    """
    number = _SYS_KEYCTL.get(os.uname().machine)
    if number is not None and sys.platform == "linux":
        _libc.syscall(_word(number), _word(_KEYCTL_JOIN_SESSION_KEYRING), None)


class _FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install_filter(program: bytes) -> None:
    """Hold this process and all that it starts to a filter of system calls, for good."""
    number = _word(_SYS_SECCOMP[os.uname().machine])
    packed = _FilterProgram(len(program) // 8, program)
    result = -1
    for flags in (_SECCOMP_FILTER_FLAG_SPEC_ALLOW, 0):  # the flag came with Linux 4.17
        result = _libc.syscall(
            number, _word(_SECCOMP_SET_MODE_FILTER), _word(flags), ctypes.byref(packed)
        )
        if result == 0 or ctypes.get_errno() != errno.EINVAL:
            break
    _call("seccomp", result)


def forbid_user_namespaces() -> None:
    """In a user namespace of our own, with its rights: no other one is ever made beneath it."""
    with contextlib.suppress(OSError):  # read-only there: then the filter alone says so
        fd = os.open("/proc/sys/user/max_user_namespaces", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, b"0")
        finally:
            os.close(fd)


def become_subreaper() -> None:
    """Adopt orphaned descendants."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


def drop_privileges() -> None:
    """Give up every capability for good, those of the bounding set included."""
    _prctl(_PR_CAPBSET_DROP, 0)
    known = 1
    while _libc.prctl(_PR_CAPBSET_DROP, known, 0, 0, 0) == 0:  # the kernel refuses what it lacks
        known += 1
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    _call("capset", _libc.capset(ctypes.byref(header), ctypes.byref(nothing)))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def map_owner(uid: int, gid: int) -> None:
    """Right after unshare(CLONE_NEWUSER): the owner is himself in there, and nobody else is."""
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", "%d %d 1" % (uid, uid)),
        ("gid_map", "%d %d 1" % (gid, gid)),
    ):
        fd = os.open("/proc/self/" + name, os.O_WRONLY)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


#: The namespaces of a container in the order to enter them: the user namespace gives the right.
#: The mount namespace is the last to be ready.
NAMESPACES = {
    "user": CLONE_NEWUSER,
    "ipc": CLONE_NEWIPC,
    "uts": CLONE_NEWUTS,
    "pid": CLONE_NEWPID,
    "cgroup": CLONE_NEWCGROUP,
    "mnt": CLONE_NEWNS,
}


def open_namespace(pid: int | None, name: str) -> int:
    """A descriptor of one of a process's namespaces; None means this one."""
    whose = "self" if pid is None else "%d" % pid
    return os.open("/proc/%s/ns/%s" % (whose, name), os.O_RDONLY | os.O_CLOEXEC)


def open_namespace_of_children() -> int:
    """A descriptor of the pid namespace of this process's children, once there was one."""
    return os.open("/proc/self/ns/pid_for_children", os.O_RDONLY | os.O_CLOEXEC)


def enter_namespace(descriptor: int, name: str) -> None:
    """Enter the namespace and close its descriptor; ``pid`` is for children forked later."""
    setns(descriptor, NAMESPACES[name])
    os.close(descriptor)
