"""Reading a container's log as one text, which lies in files that follow each other.

``log`` is the first, then come ``log.1``, ``log.2``, ...; the writer (``launcher/log``) makes the
next one when one is full, and deletes the oldest. None is ever renamed: once there is a next one,
nothing more comes to those before it.
"""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

_FIRST = "log"
_BLOCK_BYTES = 64 * 1024


def files(folder: Path) -> dict[int, Path]:
    """The files of the log in an attempt's folder, by number, the oldest first."""
    found = {}
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            head, _, number = entry.name.partition(".")
            is_number = number.isascii() and number.isdecimal()
            is_named = head == _FIRST and (is_number or entry.name == _FIRST)
            if is_named and entry.is_file(follow_symlinks=False):
                found[int(number or 0)] = folder / entry.name
    return dict(sorted(found.items()))


class RotatedLog:
    """A place in a log. It starts at the oldest byte that is left.

    Args:
        folder: the attempt's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = -1
        self._file: BinaryIO | None = None

    def read(self) -> bytes:
        """The next piece; empty at what is now the end."""
        while True:
            if piece := self._take():
                return piece
            following = next((each for each in files(self._folder) if each > self._number), None)
            if following is None:
                return b""
            if piece := self._take():  # it came between the two looks, and was the last of this
                return piece
            self._go(following)

    def skip(self, since: datetime | None, lines: int | None) -> None:
        """Go to where the wanted part begins.

        Args:
            since: leave out the files that were not written to at that moment or later.
            lines: of the rest the last so many, where one without its newline counts; None: all.
        """
        known = files(self._folder)
        kept = [each for each, path in known.items() if since is None or _written(path) >= since]
        if not kept:
            kept, lines = list(known)[-1:], 0
        if lines is None:
            self._go(kept[0])
            return
        apart = 1  # the last byte of all may end a line, but begins none
        for number in reversed(kept):
            self._go(number)
            if self._file is None:
                continue
            size = self._file.seek(0, os.SEEK_END)
            if lines > 0:
                lines -= _go_back(self._file, size - apart, lines)
            if not lines:
                return
            if size:
                apart = 0

    def close(self) -> None:
        """Let go of the file."""
        if self._file:
            self._file.close()

    def _take(self) -> bytes:
        return self._file.read(_BLOCK_BYTES) if self._file else b""

    def _go(self, number: int) -> None:
        """Stand at the start of a file; of one that is gone by now there is nothing to read."""
        self.close()
        self._number, self._file = number, None
        if path := files(self._folder).get(number):
            with contextlib.suppress(FileNotFoundError):
                self._file = path.open("rb")


def _written(path: Path) -> datetime:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except FileNotFoundError:  # deleted just now: the oldest
        return datetime.fromtimestamp(0, UTC)


def _go_back(file: BinaryIO, end: int, lines: int) -> int:
    """Stand behind the last so many newlines before a place, or at the start; how many it saw."""
    at, left = max(end, 0), lines
    while at:
        start = max(0, at - _BLOCK_BYTES)
        file.seek(start)
        block = file.read(at - start)
        found = block.count(b"\n")
        if found >= left:
            index = len(block)
            for _ in range(left):
                index = block.rindex(b"\n", 0, index)
            file.seek(start + index + 1)
            return lines
        left -= found
        at = start
    file.seek(0)
    return lines - left


def last_bytes(folder: Path, most: int) -> bytes:
    """The end of a log."""
    end = b""
    for path in reversed(files(folder).values()):
        with contextlib.suppress(OSError), path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - most + len(end)))
            end = file.read(most - len(end)) + end
        if len(end) >= most:
            break
    return end
