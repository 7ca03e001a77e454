"""The home's folder: made, judged, locked; and the few choices that are kept in it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from bessemer.base.errors import BessemerError
from bessemer.base.home import HOME_VERSION, Home

DEFAULT = Path("~/.bessemer")
# In ``keys``, for the cli: what a client needs to be believed and to believe.
ADMIN_TOKEN = "admin.token"
CA = "ca.crt"
_RUNTIME = "runtime"  # in ``run``
# Below this a start would end in the middle of something.
ROOM_NEEDED = 16 * 1024 * 1024  # bytes


class HomeError(BessemerError):
    """The home can't be used; the text says why and what to do."""


@dataclass(frozen=True)
class Config:
    """What a home keeps across restarts.

    Attributes:
        port: P of the ports P, P+1, P+2; 0 while none was chosen.
        network: X of the loopback network 127.X.0.0/16; 0 while none was chosen.
    """

    port: int = 0
    network: int = 0


def locate(path: Path) -> Home:
    """The home at a path as a person writes it."""
    return Home(path.expanduser().resolve())


def prepare(home: Home) -> None:
    """Make the folder and its parts, or judge those that are there.

    Raises:
        HomeError: it can't be written, has no room, or is a newer program's.
    """
    try:
        home.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_version(home)
        _check_room(home)
        home.root.chmod(0o700)
        for folder in (home.keys, home.pods, home.volumes, home.environments, home.cache):
            folder.mkdir(mode=0o700, exist_ok=True)
        home.run.mkdir(mode=0o700, exist_ok=True)
        _write(home.version_file, f"{HOME_VERSION}\n")
    except OSError as error:
        raise unusable(home, error) from error


def unusable(home: Home, error: OSError) -> HomeError:
    """The error of the operating system in a person's words."""
    match error.errno:
        case errno.EROFS | errno.EACCES | errno.EPERM:
            why, cure = "it can't be written", "make it writable or choose another with --home"
        case errno.ENOSPC | errno.EDQUOT:
            why, cure = "its disk is full", "make room or choose another with --home"
        case errno.ENOTDIR | errno.EEXIST:
            why, cure = "something there is no folder", "choose another with --home"
        case _:
            why, cure = "it can't be used", "mend that or choose another with --home"
    return HomeError(f"home {home.root}: {why} ({os.strerror(error.errno or 0)}); {cure}")


def _check_version(home: Home) -> None:
    try:
        text = home.version_file.read_text().strip()
    except FileNotFoundError:
        return
    if not text.isdigit():
        raise HomeError(
            f"home {home.root}: its version must be a number, but {home.version_file.name} says "
            f"{text!r}; restore that file from a copy or choose another home with --home"
        )
    if int(text) > HOME_VERSION:
        raise HomeError(
            f"home {home.root}: it has version {text}, but this program reads up to "
            f"{HOME_VERSION}: a newer Bessemer wrote it; install that version again or choose "
            "another home with --home"
        )


def _check_room(home: Home) -> None:
    free = shutil.disk_usage(home.root).free
    if free < ROOM_NEEDED:
        raise HomeError(
            f"home {home.root}: its disk has {free / 2**20:.1f} MiB left, but a start needs "
            f"{ROOM_NEEDED / 2**20:.0f} MiB; make room or choose another home with --home"
        )


def read_config(home: Home) -> Config:
    """The kept choices; the defaults where there are none yet."""
    try:
        found = json.loads(home.config.read_text())
        return Config(port=int(found["port"]), network=int(found["network"]))
    except FileNotFoundError:
        return Config()
    except (ValueError, KeyError, TypeError) as error:
        raise HomeError(
            f"home {home.root}: {home.config.name} must hold the numbers port and network, but "
            f"can't be read ({error}); mend or delete that file"
        ) from error


def write_config(home: Home, config: Config) -> None:
    """Keep the choices."""
    try:
        _write(home.config, json.dumps(asdict(config), indent=1) + "\n")
    except OSError as error:
        raise unusable(home, error) from error


def tell_runtime(home: Home, description: str) -> None:
    """Leave word of the runtime in force, for ``bessemer status``."""
    _write(home.run / _RUNTIME, description)


def told_runtime(home: Home) -> str:
    """The runtime in force, as the running control plane said."""
    try:
        return (home.run / _RUNTIME).read_text()
    except OSError:
        return "unknown"


def _write(path: Path, text: str) -> None:
    """Replace a file at once, or not at all."""
    beside = path.with_name(path.name + ".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


class Lock:
    """Held while a control plane runs on the home; the kernel lets go of it with the process."""

    def __init__(self, home: Home) -> None:
        try:
            self._descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise unusable(home, error) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise HomeError(
                f"home {home.root}: one Bessemer at a time may run on it, but pid "
                f"{read_pid(home)} does; stop that one with `bessemer down{option(home)}` or "
                "choose another home with --home"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go; the file stays, empty."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def read_pid(home: Home) -> int:
    """The pid in the lock file; 0 when there is none."""
    try:
        text = home.lock.read_text().strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0


def holder(home: Home) -> int:
    """The pid of the control plane that runs on the home; 0 when none does."""
    return read_pid(home) if _is_held(home.lock) else 0


def has_running_pods(home: Home) -> bool:
    """Whether containers of an earlier control plane run on."""
    return any(_is_held(attempt) for attempt in home.pods.glob("*/containers/*/*"))


def _is_held(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def option(home: Home) -> str:
    """The ``--home`` that a command for this home needs; nothing for the default one."""
    return "" if home == locate(DEFAULT) else f" --home {home.root}"
