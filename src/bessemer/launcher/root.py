"""What a container sees: a root of named mounts only, built anew for each one.

Everything comes by name from the spec: ``binds`` (source, target, read-only), ``links``,
``files`` (text), ``folders``, ``image`` (an unpacked root filesystem, or null), ``proc_guarded``.
Nothing of the machine is there that the spec does not name, the home folder least of all.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import Container

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
    tree = _Tree(base)
    for path in spec["folders"]:
        tree.make_folder(path)
    for path, text in spec["files"].items():
        folder = tree.make_folder(os.path.dirname(path))
        _write(folder + "/" + os.path.basename(path), text)
    for target, name in spec["links"]:
        os.symlink(name, base + target)
    _fill_dev(base + "/dev")
    if spec["own_processes"]:
        _fill_proc(base + "/proc", spec["proc_guarded"])
    for source, target, read_only in spec["binds"]:
        tree.bind(source, target, linux.MS_RDONLY if read_only else 0)
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


def _touch(path: str) -> None:
    with contextlib.suppress(FileExistsError):
        os.mknod(path, 0o644 | stat.S_IFREG)


def _write(path: str, text: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # an image's own, perhaps a link to somewhere else
    with open(path, "xb", buffering=0) as file:
        file.write(text.encode())


class _Tree:
    """The root that is built: where paths lead in it, and the folders that mounts need."""

    def __init__(self, base: str) -> None:
        self._base = base
        # Folders that are no links and stay so: nobody else can write beside our mounts yet.
        self._plain = {base}
        self._mounts: list[str] = []

    def bind(self, source: str, target: str, flags: int) -> None:
        """Show the source at the target, which is made if it isn't there."""
        if os.path.isdir(source):
            place = self.make_folder(target)
        else:
            parent, name = os.path.split(_inside(self._base, target, self._plain))
            place = self._make(parent) + "/" + name
            _touch(place)
        linux.bind(source, place, flags | _NO_DEVICES)
        self._mounts.append(place + "/")
        self._plain = {path for path in self._plain if not self._is_mounted(path)}

    def make_folder(self, path: str) -> str:
        """Where the folder is; it and its parents are made if they aren't there."""
        return self._make(_inside(self._base, path, self._plain))

    def _make(self, place: str) -> str:
        missing = []
        while place not in self._plain and place != self._base:
            missing.append(place)
            place = os.path.dirname(place)
        for place in reversed(missing):
            with contextlib.suppress(FileExistsError):
                os.mkdir(place)
            if not self._is_mounted(place):
                self._plain.add(place)
        return place

    def _is_mounted(self, place: str) -> bool:
        """Whether it shows what others may change."""
        return any((place + "/").startswith(mount) for mount in self._mounts)


def _inside(base: str, path: str, plain: Container[str] = ()) -> str:
    """Where the path leads when ``base`` is the root: links of images and volumes end in there.

    Those in ``plain`` are known to be no links.
    """
    steps, place, links = path.split("/")[::-1], base, 0
    while steps:
        step = steps.pop()
        if step == "..":
            place = place if place == base else os.path.dirname(place)
        elif step not in ("", "."):
            below = place + "/" + step
            if below in plain:
                place = below
                continue
            try:
                name = os.readlink(below)
            except OSError:
                place = below
                continue
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            place = base if name.startswith("/") else place
            steps.extend(name.split("/")[::-1])
    return place


_MOST_LINKS = 40
