"""Room on the disk that is kept for the day on which there is none: a file of zeros in the home.

Given up, it lets a start, a deletion or the words that a pod has ended get through, each of which
leads to more room; then it is taken again. The file system allots all of it (``fallocate``).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
from pathlib import Path

_MIB = 2**20
#: The sizes that are tried; one is taken if as much is left beside it.
_SIZES = (8 * _MIB, 4 * _MIB, 2 * _MIB)


# Magic, version, page size, checkpoints, salts, checksums. Page and size, salts, checksums.
_LOG_HEAD = struct.Struct(">4s4sI4s8s8s")
_FRAME_HEAD = struct.Struct(">8s8s8s")


class Reserve:
    """The reserve of a home.

    Args:
        path: the file; its folder has to exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def make(self) -> bool:
        """Take the room if there is enough and it isn't taken; whether it is now."""
        with contextlib.suppress(OSError):
            if self._path.lstat().st_size:
                return True
        free = shutil.disk_usage(self._path.parent).free
        size = next((size for size in _SIZES if free >= 2 * size), 0)
        return bool(size) and self._allot(size)

    def _allot(self, size: int) -> bool:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(self._path, flags, 0o600)
        except OSError:
            return False
        try:
            allot(descriptor, size)
        except OSError:
            os.ftruncate(descriptor, 0)
            return False
        finally:
            os.close(descriptor)
        return True

    def release(self) -> bool:
        """Give the room to whoever is first; whether there was some."""
        try:
            size = self._path.lstat().st_size
            os.truncate(self._path, 0)
        except OSError:
            return False
        return size > 0


def allot(descriptor: int, size: int) -> None:
    """Have the file system keep room for a file of that size.

    Raises:
        OSError: there is none.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    while (at := os.fstat(descriptor).st_size) < size:  # macOS
        os.pwrite(descriptor, bytes(min(_MIB, size - at)), at)


def trim_log(database: Path) -> bool:
    """Cut off what SQLite's log of a file that nobody has open holds beyond its frames.

    Source of the format: sqlite.org/fileformat2.html, "The Write-Ahead Log".

    Returns:
        Whether there is such a log, with frames that the file has not.
    """
    log = database.with_name(database.name + "-wal")
    with contextlib.suppress(OSError), log.open("r+b") as file:
        head = file.read(_LOG_HEAD.size)
        if len(head) < _LOG_HEAD.size:
            return False
        _, _, page, _, salts, _ = _LOG_HEAD.unpack(head)
        end = _LOG_HEAD.size
        while page and (frame := file.read(_FRAME_HEAD.size)):
            if len(frame) < _FRAME_HEAD.size or _FRAME_HEAD.unpack(frame)[1] != salts:
                break
            end = file.seek(end + _FRAME_HEAD.size + page)
        file.truncate(end)
        return end > _LOG_HEAD.size
    return False
