"""What a container sees: a root of named mounts only, built anew for each one.

Everything comes by name from the spec: ``binds`` (source, target, read-only and, where only a
part of the source is shown, its path in there), ``links``, ``files`` (text), ``folders``,
``image`` (an unpacked root filesystem, or null), ``proc_guarded``, ``read_only`` (the root
itself; may be absent).
Nothing of the machine is there that the spec does not name, the home folder least of all.

Others may write to a volume while it is mounted here, and make links of its folders. So what
lies in one is never named by a path that is checked first and used later: the kernel walks it
once, within its bounds, and all that follows goes by the descriptor.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import Callable, Iterator, Optional

from bessemer.launcher import linux
from bessemer.launcher.folder import Record

_ROOT_SIZE = "size=256m,mode=755"
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
    ("core", "/proc/kcore"),
)
_NO_DEVICES = linux.MS_NOSUID | linux.MS_NODEV


def build(spec: Record) -> None:
    """Make a new root in this fresh mount namespace, and move into it for good."""
    linux.mount(None, "/", None, linux.MS_SLAVE | linux.MS_REC)
    base = spec["root"]
    linux.mount("tmpfs", base, "tmpfs", _NO_DEVICES, _ROOT_SIZE)
    if spec["image"] is not None:
        base = _overlay(spec["image"], base)
    with _hold(os.open(base, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as root:
        for path in spec["folders"]:
            os.close(_reach(root, path, os.mkdir))
        for path, text in spec["files"].items():
            _write(root, path, text)
        for target, name in spec["links"]:
            os.symlink(name, base + target)
        _fill_dev(base + "/dev")
        if spec["own_processes"]:
            _fill_proc(base + "/proc", spec["proc_guarded"])
        for source, target, read_only, *below in spec["binds"]:
            with _hold(_clone(source, "".join(below))) as tree:
                linux.set_mount_flags(tree, _NO_DEVICES | (linux.MS_RDONLY if read_only else 0))
                _mount(tree, root, target)
    if spec.get("read_only"):
        flags = linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY
        linux.mount(None, base, None, flags | _NO_DEVICES)
    os.chdir(base)
    linux.pivot_root(".", ".")
    linux.umount(".", linux.MNT_DETACH)
    os.chdir("/")


def _overlay(image: str, scratch: str) -> str:
    """The image, writable: what the container changes is in memory and ends with it."""
    upper, work, merged = scratch + "/upper", scratch + "/work", scratch + "/merged"
    for path in (upper, work, merged):
        os.mkdir(path)
    options = "lowerdir=%s,upperdir=%s,workdir=%s" % (image, upper, work)
    linux.mount("overlay", merged, "overlay", _NO_DEVICES, options + ",userxattr")
    return merged


def _fill_dev(path: str) -> None:
    os.makedirs(path, exist_ok=True)
    linux.mount("tmpfs", path, "tmpfs", linux.MS_NOSUID | linux.MS_NOEXEC, "size=64k,mode=755")
    for name in _DEVICES:
        if os.path.exists("/dev/" + name):
            with contextlib.suppress(FileExistsError):
                _touch(path + "/" + name)
            linux.mount("/dev/" + name, path + "/" + name, None, linux.MS_BIND)
    for name, target in _DEVICE_LINKS:
        os.symlink(target, path + "/" + name)
    for name, kind, data in (("shm", "tmpfs", "mode=1777"), ("pts", "devpts", _PTS)):
        os.mkdir(path + "/" + name)
        linux.mount(kind, path + "/" + name, kind, linux.MS_NOSUID | linux.MS_NOEXEC, data)


_PTS = "newinstance,ptmxmode=0666,mode=620"


def _fill_proc(path: str, guarded: list[str]) -> None:
    """Our own /proc; what an uid 0 without capabilities could still write there is read-only."""
    os.makedirs(path, exist_ok=True)
    linux.mount("proc", path, "proc", _NO_DEVICES | linux.MS_NOEXEC)
    for name in guarded:
        place = path + "/" + name
        linux.mount(place, place, None, linux.MS_BIND | linux.MS_REC)
        flags = linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY | linux.MS_NOEXEC
        linux.mount(None, place, None, flags | _NO_DEVICES)


def _touch(path: str, *, dir_fd: Optional[int] = None) -> None:
    os.mknod(path, 0o644 | stat.S_IFREG, dir_fd=dir_fd)


@contextlib.contextmanager
def _hold(descriptor: int) -> Iterator[int]:
    """Close it at the end: the container must not find a way out among its descriptors."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _clone(source: str, below: str) -> int:
    """A copy of what is to be shown, mounted nowhere yet."""
    if not below:
        return linux.clone_tree(None, source)
    with _hold(os.open(source, os.O_PATH | os.O_CLOEXEC)) as volume:
        try:
            inside = linux.open_beneath(volume, below)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.ELOOP):
                raise
            text = "a subPath stays inside its volume, but now it leads out of it"
            raise OSError(error.errno, text, below) from error
    with _hold(inside):
        return linux.clone_tree(inside, "")


def _mount(tree: int, root: int, target: str) -> None:
    """Show the tree at the target, which is made if it isn't there."""
    is_folder = stat.S_ISDIR(os.fstat(tree).st_mode)
    with _hold(_reach(root, target, os.mkdir if is_folder else _touch)) as place:
        linux.attach_tree(tree, place)


def _write(root: int, path: str, text: str) -> None:
    parent, name = os.path.split(path)
    with _hold(_reach(root, parent, os.mkdir)) as folder:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)  # an image's own, perhaps a link to somewhere else
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(name, flags, 0o666, dir_fd=folder), "wb", buffering=0) as file:
            file.write(text.encode())


def _reach(root: int, path: str, make: Callable[..., None], tried: int = 0) -> int:
    """A descriptor of what is at the path in the root; ``make`` makes it if nothing is there.

    Links, of images and volumes, end in the root, and so do those to what isn't there yet.
    ``make`` gets a name and ``dir_fd``; missing parents become folders.
    """
    try:
        return linux.open_in_root(root, path)
    except FileNotFoundError:
        if tried >= _MOST_TRIES:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path) from None
    parent, name = os.path.split(path.rstrip("/"))
    with _hold(_reach(root, parent or "/", os.mkdir, tried + 1)) as folder:
        try:
            make(name, dir_fd=folder)
        except FileExistsError:
            with contextlib.suppress(OSError):  # no link, or no more
                path = os.path.join(parent, os.readlink(name, dir_fd=folder))
    return _reach(root, path, make, tried + 1)


#: Steps and links of one path; one that changes all the time ends here too.
_MOST_TRIES = 255
