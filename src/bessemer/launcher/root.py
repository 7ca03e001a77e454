"""What a container sees: a root of named mounts only, built anew for each one.

Everything comes by name from the spec: ``binds`` (source, target, read-only), ``links``,
``files`` (text), ``folders``, ``image`` (an unpacked root filesystem, or null), ``proc_guarded``.
Nothing of the machine is there that the spec does not name, the home folder least of all.
"""

from __future__ import annotations

import errno
import os

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
    for path in spec["folders"]:
        os.makedirs(_inside(base, path), exist_ok=True)
    for path, text in spec["files"].items():
        _write(_inside(base, os.path.dirname(path)) + "/" + os.path.basename(path), text)
    for target, name in spec["links"]:
        os.symlink(name, base + target)
    _fill_dev(base + "/dev")
    if spec["own_processes"]:
        _fill_proc(base + "/proc", spec["proc_guarded"])
    for source, target, read_only in spec["binds"]:
        _bind(source, base, target, linux.MS_RDONLY if read_only else 0)
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


def _bind(source: str, base: str, target: str, flags: int) -> None:
    place = _inside(base, target)
    if os.path.isdir(source):
        os.makedirs(place, exist_ok=True)
    else:
        _touch(place)
    linux.bind(source, place, flags | _NO_DEVICES)


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
    if not os.path.lexists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644))


def _write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.lexists(path):
        os.unlink(path)  # an image's own, perhaps a link to somewhere else
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _inside(base: str, path: str) -> str:
    """Where the path leads when ``base`` is the root: links of images and volumes end in there."""
    steps, place, links = path.split("/")[::-1], base, 0
    while steps:
        step = steps.pop()
        if step == "..":
            place = place if place == base else os.path.dirname(place)
        elif step not in ("", "."):
            try:
                name = os.readlink(place + "/" + step)
            except OSError:
                place += "/" + step
                continue
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            place = base if name.startswith("/") else place
            steps.extend(name.split("/")[::-1])
    return place


_MOST_LINKS = 40
