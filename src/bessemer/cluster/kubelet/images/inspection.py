"""An environment after an install: what packages brought is held against what they may bring.

A package is a stranger's archive, and what it holds is put beside the files that say which
interpreter the environment has. So those files, as uv made them, are noted before anything is
installed, and after each install everything is walked, by descriptors and through no link.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bessemer.cluster.kubelet.errors import BuildFailure
from bessemer.cluster.kubelet.images.bounded import Bounds

MOST_DEPTH = 64  # of folders in an environment
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# The largest RECORD (a wheel's list of its files) that is searched for a file's name.
_MOST_RECORD_BYTES = 64 << 20
_MOST_TOLD = 200  # characters of a path
#: Names that are ours, in the environment and in its site-packages.
READY = ".ready"
PTH = "_bessemer.pth"
# uv leaves them for other programs: nothing hangs on them.
_FREE = frozenset({".gitignore", ".lock", "CACHEDIR.TAG"})
_CURE = "use another release of it, or have the container install it itself (pip in its command)"


@dataclass(frozen=True)
class Mark:
    """What tells that a file is still the one that was noted."""

    inode: int
    mode: int
    content: bytes  # a link's target, a file's hash


@dataclass(frozen=True)
class _Entry:
    """Something in an environment: where, what, and the descriptor of its folder."""

    path: str
    name: str
    status: os.stat_result
    folder: int


def note(environment: Path) -> dict[str, Mark]:
    """The files and links of an environment that uv just made, by path. Blocking."""
    return {
        entry.path: _mark(entry)
        for entry in _walk(environment)
        if not stat.S_ISDIR(entry.status.st_mode) and entry.path not in _FREE
    }


def check(environment: Path, packages: Path, before: Mapping[str, Mark], bounds: Bounds) -> None:
    """Refuse what no package may bring. Blocking.

    Args:
        environment: where no program works any more.
        packages: its site-packages.
        before: what it held before the first install.
        bounds: how many files, and how large.

    Raises:
        BuildFailure: a file of uv's was replaced, or something is no plain file, lies too deep,
            would change who runs it, bears a name of ours, or there is too much.
    """
    ours = {READY, str(packages.relative_to(environment) / PTH)}
    left, files, size = set(before), 0, 0
    for entry in _walk(environment):
        mode = entry.status.st_mode
        fault = ""
        if entry.path in before:
            left.discard(entry.path)
            if _mark(entry) != before[entry.path]:
                fault = "is the environment's own, which no package may replace"
        elif entry.path in ours:
            fault = "is a name of Bessemer's own"
        elif not stat.S_ISDIR(mode):
            fault = _find_fault(mode)
            files, size = files + 1, size + entry.status.st_size
        if fault:
            raise _refusal(environment, packages, entry.path, fault)
        if files > bounds.files or size > bounds.size:
            raise _too_much(bounds)
    if left:
        path = min(left)
        raise _refusal(environment, packages, path, "is the environment's own, and is gone")


def _find_fault(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "is a link, which no wheel may hold"
    if not stat.S_ISREG(mode):
        return "is a special file, which no wheel may hold"
    if mode & (stat.S_ISUID | stat.S_ISGID):
        return "would run with another user's rights"
    return ""


def _too_much(bounds: Bounds) -> BuildFailure:
    return BuildFailure(
        f"an environment holds at most {bounds.files} files and {bounds.size >> 20} MiB, but "
        "these packages bring more; name fewer of them"
    )


def _refusal(environment: Path, packages: Path, path: str, fault: str) -> BuildFailure:
    who = _find_owner(environment, packages, path)
    return BuildFailure(f"{who} brings {path[:_MOST_TOLD]!r}, which {fault}; {_CURE}")


def _find_owner(environment: Path, packages: Path, path: str) -> str:
    """The package whose RECORD names a file."""
    line = f"{os.path.relpath(environment / path, packages)},".encode()
    for record in sorted(packages.glob("*.dist-info/RECORD")):
        try:
            descriptor = os.open(record, _FILE)
        except OSError:
            continue
        with open(descriptor, "rb") as file:
            if any(each.startswith(line) for each in file.read(_MOST_RECORD_BYTES).splitlines()):
                return f"package {record.parent.name.removesuffix('.dist-info')!r}"
    return "a package"


def _walk(environment: Path) -> Iterator[_Entry]:
    """All below the folder; a folder itself before what is in it."""
    stack = [("", _scan(os.open(environment, _FOLDER)))]
    try:
        while stack:
            prefix, (folder, entries) = stack[-1]
            if not entries:
                os.close(folder)
                stack.pop()
                continue
            name, status = entries.pop()
            yield _Entry(prefix + name, name, status, folder)
            if stat.S_ISDIR(status.st_mode):
                if len(stack) >= MOST_DEPTH:
                    raise BuildFailure(
                        f"folders of packages lie at most {MOST_DEPTH} deep, but a package brings "
                        f"{(prefix + name)[:_MOST_TOLD]!r}; {_CURE}"
                    )
                below = os.open(name, _FOLDER, dir_fd=folder)
                stack.append((f"{prefix}{name}/", _scan(below)))
    finally:
        for _, (folder, _) in stack:
            os.close(folder)


def _scan(folder: int) -> tuple[int, list[tuple[str, os.stat_result]]]:
    with os.scandir(folder) as entries:
        return folder, [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]


def _mark(entry: _Entry) -> Mark:
    status = entry.status
    if stat.S_ISLNK(status.st_mode):
        content = os.fsencode(os.readlink(entry.name, dir_fd=entry.folder))
    elif stat.S_ISREG(status.st_mode):
        with open(os.open(entry.name, _FILE, dir_fd=entry.folder), "rb") as file:
            content = hashlib.file_digest(file, "sha256").digest()
    else:
        content = b""
    return Mark(status.st_ino, status.st_mode, content)
