"""Folders that programs of users made: how much of the disk they take, and their end.

A pod may nest folders deeper than paths are long and than ``shutil.rmtree`` can follow (it holds
one descriptor and one frame a level), take its own rights on them away, and put links wherever it
likes while somebody looks. So every step goes by the descriptor of the one before, and through no
link.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

#: What a tree counts for that is nested deeper than anybody nests folders who wants them read.
BOUNDLESS = sys.maxsize
_DEEPEST = 64  # folders; each level of a walk holds two descriptors
_BLOCK_BYTES = 512  # what st_blocks counts
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Stopped(Exception):
    """The walk was told to end."""


def measure(root: Path, stop: threading.Event | None = None) -> int:
    """The bytes that a tree takes on its disk, as ``du`` counts; what can't be read takes none.

    Raises:
        Stopped: ``stop`` was set meanwhile.
    """
    total, seen = 0, set[tuple[int, int]]()
    with contextlib.ExitStack() as stack:
        levels = [_Level(stack, str(root), None)]
        while levels:
            if stop is not None and stop.is_set():
                raise Stopped
            if len(levels) > _DEEPEST:
                return BOUNDLESS
            level = levels[-1]
            for entry in level.entries:
                try:
                    found = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                if stat.S_ISDIR(found.st_mode):
                    total += found.st_blocks * _BLOCK_BYTES
                    levels.append(_Level(stack, entry.name, level.descriptor))
                    break
                if found.st_nlink == 1 or (found.st_dev, found.st_ino) not in seen:
                    total += found.st_blocks * _BLOCK_BYTES
                if found.st_nlink > 1:
                    seen.add((found.st_dev, found.st_ino))
            else:
                levels.pop().close()
    return total


class _Level:
    """A folder that a walk is in; an empty one if it can't be read."""

    def __init__(self, stack: contextlib.ExitStack, name: str, above: int | None) -> None:
        self._held = stack.enter_context(contextlib.ExitStack())
        self.descriptor = -1
        self.entries: Iterator[os.DirEntry[str]] = iter(())
        with contextlib.suppress(OSError):
            self.descriptor = os.open(name, _FOLDER, dir_fd=above)
            self._held.callback(os.close, self.descriptor)
            self.entries = self._held.enter_context(os.scandir(self.descriptor))

    def close(self) -> None:
        """Close the descriptors of the folder."""
        self._held.close()


def remove(path: Path, *, within: int | None = None) -> None:
    """Delete a folder and all below it, or a file; what can't be deleted stays. Blocking.

    ``within`` is the descriptor of the folder that has it, where no other step of the path may be
    trusted. No link is followed. Folders in a folder are moved to the top before they are emptied,
    so that depth costs neither descriptors nor frames.
    """
    try:
        is_folder = stat.S_ISDIR(os.lstat(path, dir_fd=within).st_mode)
    except OSError:
        return
    if not is_folder:
        with contextlib.suppress(OSError):
            os.unlink(path, dir_fd=within)
        return
    with contextlib.suppress(OSError):
        top = _open(str(path), within)
        try:
            _empty(top)
        finally:
            os.close(top)
        os.rmdir(path, dir_fd=within)


def _empty(top: int) -> None:
    """Delete what is in the folder."""
    waiting = _clear(top, top)
    # Names that nobody could foresee, so that none is taken.
    mark, count = secrets.token_hex(8), 0
    while waiting:
        name = waiting.pop()
        try:
            folder = _open(name, top)
        except OSError:
            continue
        try:
            for each in _clear(folder, top):
                count += 1
                moved = f".{mark}.{count}"
                with contextlib.suppress(OSError):
                    os.rename(each, moved, src_dir_fd=folder, dst_dir_fd=top)
                    waiting.append(moved)
        finally:
            os.close(folder)
        with contextlib.suppress(OSError):
            os.rmdir(name, dir_fd=top)


def _clear(folder: int, top: int) -> list[str]:
    """Delete a folder's files and empty folders; the names of the other folders in it."""
    folders = []
    with os.scandir(folder) as entries:
        names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in names:
        with contextlib.suppress(OSError):
            if not is_folder:
                os.unlink(name, dir_fd=folder)
                continue
            try:
                os.rmdir(name, dir_fd=folder)
            except OSError:
                folders.append(name)
                if folder != top:
                    # Moving a folder writes its "..", which takes a right to it.
                    _own(name, folder)
    return folders


def _open(name: str, folder: int | None) -> int:
    try:
        descriptor = os.open(name, _FOLDER, dir_fd=folder)
    except PermissionError:
        _own(name, folder)
        descriptor = os.open(name, _FOLDER, dir_fd=folder)
    # Deleting in a folder takes the right to write and enter it.
    if os.fstat(descriptor).st_mode & stat.S_IRWXU != stat.S_IRWXU:
        with contextlib.suppress(OSError):
            os.fchmod(descriptor, stat.S_IRWXU)
    return descriptor


def _own(name: str, folder: int | None) -> None:
    with contextlib.suppress(OSError):
        if folder is not None and stat.S_ISLNK(os.lstat(name, dir_fd=folder).st_mode):
            return
        os.chmod(name, stat.S_IRWXU, dir_fd=folder)
