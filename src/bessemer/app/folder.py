"""The home's folder: made, judged, locked; and the few choices that are kept in it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from bessemer.base.errors import BessemerError
from bessemer.base.home import HOME_VERSION, Home
from bessemer.cluster.store.reserve import Reserve, trim_log

DEFAULT = Path("~/.bessemer")
# In ``keys``, for the cli: what a client needs to be believed and to believe.
ADMIN_TOKEN = "admin.token"
CA = "ca.crt"
_RUNTIME = "runtime"  # in ``run``
# Below this a start may end in the middle of something.
ROOM_NEEDED = 16 * 1024 * 1024  # bytes
_OF_THE_DISK = "lost+found"  # in the root of each ext4
LAST_PORT = 65533  # P+1 and P+2 are ports, too
_LAST_NETWORK = 255
_LONG = 20  # digits: nobody writes a longer version or pid


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
    """The home at a path as a person writes it.

    Raises:
        HomeError: the path leads nowhere: ``~`` of an unknown user, links in a circle.
    """
    try:
        return Home(path.expanduser().resolve())
    except RuntimeError as error:
        raise HomeError(f"home {path}: {error}; choose another with --home") from error


def prepare(home: Home) -> None:
    """Make the folder and its parts, or judge those that are there.

    Raises:
        HomeError: it can't be written, is new and has no room, is a newer program's or nobody's.
    """
    try:
        home.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        judge(home)
        _check_room(home)
        home.root.chmod(0o700)
        # First of all: it tells this folder from one that is nobody's home.
        _write(home.version_file, f"{HOME_VERSION}\n")
        for folder in _parts(home):
            folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise unusable(home, error) from error


def unmake(home: Home) -> None:
    """Leave an empty folder of a home in which nothing has begun: its first start was refused.

    A home that holds anything but what ``prepare`` and the lock make is left as it is.
    """
    parts, files = _parts(home), (home.version_file, home.lock)
    made = {path.name for path in (*parts, *files)}
    try:
        is_fresh = {entry.name for entry in os.scandir(home.root)} <= made
        if not is_fresh or any(any(os.scandir(part)) for part in parts):
            return
        for part in parts:
            part.rmdir()
        for file in files:
            file.unlink()
    except OSError:  # what can't be looked at or taken back stays: the next start judges it
        return


def _parts(home: Home) -> tuple[Path, ...]:
    return (home.keys, home.pods, home.volumes, home.environments, home.cache, home.run)


def unusable(home: Home, error: OSError) -> HomeError:
    """The error of the operating system in a person's words, with the part that has it."""
    path = Path(str(error.filename2 or error.filename or home.root))
    what = str(path.relative_to(home.root)) if home.root in path.parents else "it"
    match error.errno:
        case errno.EROFS:
            why, cure = f"{what} can't be written", "make it writable"
        case errno.EACCES | errno.EPERM:
            why, cure = f"{what} can't be read or written", "make it your own"
        case errno.ENOSPC | errno.EDQUOT:
            why, cure = "its disk is full", "make room"
        case errno.ENOTDIR | errno.EEXIST:
            why, cure = f"{what} is no folder", "move it away"
        case _:
            why, cure = f"{what} can't be used", "mend that"
    reason = os.strerror(error.errno or 0)
    return HomeError(f"home {home.root}: {why} ({reason}); {cure} or choose another with --home")


def judge(home: Home) -> None:
    """Whether that folder is a home of this program, or may become one.

    Raises:
        HomeError: it is a newer program's home, or something else lies there.
        OSError: it can't be read.
    """
    try:
        text = home.version_file.read_text(errors="replace").strip()
    except FileNotFoundError:
        _check_empty(home)
        return
    if not text.isdecimal() or len(text) > _LONG:
        raise HomeError(
            f"home {home.root}: its version must be a number, but {home.version_file.name} says "
            f"{text[:80]!r}; restore that file from a copy or choose another home with --home"
        )
    if int(text) > HOME_VERSION:
        raise HomeError(
            f"home {home.root}: it has version {text}, but this program reads up to "
            f"{HOME_VERSION}: a newer Bessemer wrote it; install that version again or choose "
            "another home with --home"
        )


def _check_empty(home: Home) -> None:
    """A home is made its owner's alone, which must not happen to /tmp or a person's own files."""
    draft = _draft(home.version_file)  # all that a first start that was killed may leave
    others = sorted({path.name for path in home.root.glob("*")} - {draft.name, _OF_THE_DISK})
    if others:
        raise HomeError(
            f"home {home.root}: it must be a new or empty folder, or a home (with the file "
            f"{home.version_file.name}), but holds {others[0]!r}; choose another with --home"
        )


def check_whole(home: Home) -> None:
    """Refuse a home whose databases are gone while what came of them is there.

    An empty cluster in their place would have every volume and every run of it deleted.

    Raises:
        HomeError: a database is missing or empty that this home must have had.
    """
    for database, others in (
        (home.objects, (home.history, home.pods, home.volumes)),
        (home.history, (home.pods, home.volumes)),
    ):
        log = database.with_name(f"{database.name}-wal")
        sign = next((path for path in (log, *others) if _has_content(path)), None)
        if sign is None or _has_content(database):
            continue
        what = "is empty" if database.exists() else "is missing"
        raise HomeError(
            f"home {home.root}: it was in use, as {sign.name} shows, so it must have its "
            f"{database.name}, but that {what}; put it back from a copy, or choose another home "
            f"with --home (to begin anew with nothing, move this one away: {home.root})"
        )


def _has_content(path: Path) -> bool:
    try:
        return bool(any(path.iterdir()) if path.is_dir() else path.stat().st_size)
    except OSError:
        return False


def _room_left(home: Home) -> str:
    """How much room is missing to start with; "" if none is."""
    free = shutil.disk_usage(home.root).free
    if free >= ROOM_NEEDED:
        return ""
    return f"{free / 2**20:.1f} MiB left, but a start needs {ROOM_NEEDED / 2**20:.0f} MiB"


def _check_room(home: Home) -> None:
    """A home that is there has a reserve, and what can be deleted; a new one has neither."""
    if (left := _room_left(home)) and not home.version_file.exists():
        raise HomeError(
            f"home {home.root}: its disk has {left}; make room or choose another home with --home"
        )


def make_room(home: Home) -> str:
    """Give up the reserve of a home on a full disk, whose lock we hold; then a warning, else "".

    Whoever may start so can delete, which is all that helps.
    """
    left = _room_left(home)
    if not left:
        return ""
    Reserve(home.reserve).release()
    for database in (home.objects, home.history):
        trim_log(database)
    return (
        f"home {home.root}: its disk is full ({left}): what is there can be read and deleted, but "
        "nothing new be stored; delete pods, runs or claims, make room elsewhere, or end this "
        f"with `bessemer down{option(home)}` and run `bessemer prune{option(home)}`"
    )


def read_config(home: Home) -> Config:
    """The kept choices; the defaults where there are none yet."""
    try:
        text = home.config.read_text(errors="replace").strip()
    except FileNotFoundError:
        return Config()
    except OSError as error:
        raise unusable(home, error) from error
    try:
        match json.loads(text):
            case {"port": int(port), "network": int(network)} if (
                0 <= port <= LAST_PORT and 0 <= network <= _LAST_NETWORK
            ):
                return Config(port, network)
    except ValueError:
        pass
    raise HomeError(
        f"home {home.root}: {home.config.name} must hold a port (to {LAST_PORT}) and a network "
        f"(to {_LAST_NETWORK}), but holds {text[:80]!r}; mend or delete that file"
    )


def write_config(home: Home, config: Config) -> None:
    """Keep what was chosen for this home, for its next starts."""
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
        return (home.run / _RUNTIME).read_text(errors="replace")
    except OSError:
        return "unknown"


def _draft(path: Path) -> Path:
    return path.with_name(path.name + ".new")


def _write(path: Path, text: str) -> None:
    """Replace a file at once, or not at all; one that says so already needs no room."""
    with contextlib.suppress(OSError, ValueError):
        if path.read_text() == text:
            return
    beside = _draft(path)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


class Lock:
    """Held while a control plane runs on the home; the kernel lets go of it with the process.

    Raises:
        HomeError: another holds it.
    """

    def __init__(self, home: Home) -> None:
        try:
            self._descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise unusable(home, error) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            pid = read_pid(home)
            who = f"pid {pid}" if pid else "a `bessemer prune`, or one that only starts,"
            raise HomeError(
                f"home {home.root}: one Bessemer at a time may run on it, but {who} does; stop "
                f"that one with `bessemer down{option(home)}` or choose another home with --home"
            ) from None
        self._home = home

    def sign(self) -> None:
        """Say who holds it: a control plane, which clients may talk to and end."""
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            raise unusable(self._home, error) from error

    def release(self) -> None:
        """Let go; the file stays, empty."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def read_pid(home: Home) -> int:
    """The pid in the lock file; 0 when there is none."""
    try:
        text = home.lock.read_text(errors="replace").strip()
    except OSError:
        return 0
    return int(text) if text.isdecimal() and len(text) < _LONG else 0


def holder(home: Home) -> int:
    """The pid of the control plane that runs on the home; 0 when none does."""
    pid = read_pid(home)
    # Whether a lock is held is found out by taking it, and in that moment nobody else can: not
    # when all that is there is the pid of a dead one, whom a start may follow just now.
    return pid if pid and _is_alive(pid) and _is_held(home.lock) else 0


def running_attempts(home: Home) -> Iterator[Path]:
    """The folders of containers that run: their supervisors hold them."""
    return (path for path in home.pods.glob("*/containers/*/*") if _is_held(path))


def has_running_pods(home: Home) -> bool:
    """Whether containers of an earlier control plane run on."""
    return any(True for _ in running_attempts(home))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


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
    """The ``--home`` that a shell's command needs for this home; nothing for the default one."""
    return "" if home == locate(DEFAULT) else f" --home {shlex.quote(str(home.root))}"
