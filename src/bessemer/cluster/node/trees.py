"""Folders that pods wrote: how much of the disk they take, and their end.

A program may nest folders deeper than any stack, take its own rights away, and put links wherever
it likes while somebody looks. So every step goes by the descriptor of the one before and follows
no link; nothing here recurses without a bound.
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
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK_BYTES = 512  # what st_blocks counts


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
        """Let go of it."""
        self._held.close()


def remove(root: Path) -> None:
    """Delete a tree, whatever was made of it, as far as this user may.

    Args:
        root: its folder is ours, and nobody else writes in that.
    """
    try:
        top = os.open(root, _FOLDER)
    except NotADirectoryError:
        root.unlink(missing_ok=True)
        return
    except PermissionError:
        root.chmod(stat.S_IRWXU)
        top = os.open(root, _FOLDER)
    except OSError:  # it is gone, or a link
        with contextlib.suppress(OSError):
            root.unlink()
        return
    try:
        # What is nested too deep is moved up each time, until nothing is left.
        while _clear(top, top, 0):
            pass
    finally:
        os.close(top)
    with contextlib.suppress(OSError):
        root.rmdir()


def _clear(folder: int, top: int, depth: int) -> int:
    """Delete what is in a folder; how many entries went, or were moved up for the next time."""
    done = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                done += _delete(entry, folder, top, depth)
            except PermissionError:
                with contextlib.suppress(OSError):
                    os.fchmod(folder, stat.S_IRWXU)
                    done += _delete(entry, folder, top, depth)
            except OSError:
                continue
    return done


def _delete(entry: os.DirEntry[str], folder: int, top: int, depth: int) -> int:
    if not entry.is_dir(follow_symlinks=False):
        os.unlink(entry.name, dir_fd=folder)
        return 1
    child = _open(entry.name, folder)
    try:
        done = _clear(child, top, depth + 1) if depth < _DEEPEST else 0
    finally:
        os.close(child)
    try:
        os.rmdir(entry.name, dir_fd=folder)
    except OSError:
        if depth < _DEEPEST:
            return done
        os.rename(entry.name, secrets.token_hex(8), src_dir_fd=folder, dst_dir_fd=top)
    return 1


def _open(name: str, folder: int) -> int:
    """The folder, with the right to do anything in it if it is ours."""
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
    except PermissionError:
        if not hasattr(os, "O_PATH"):
            raise
        held = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
        try:
            os.chmod(f"/proc/self/fd/{held}", stat.S_IRWXU)
        finally:
            os.close(held)
        return os.open(name, _FOLDER, dir_fd=folder)
