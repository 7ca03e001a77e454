"""A container's log: files that follow each other, the oldest deleted when there are too many.

``log`` is the first, then come ``log.1``, ``log.2``, ...; none is ever renamed, so that a reader
who came to the end of one has read all of it as soon as the next is there. Sizes as the kubelet's
defaults: containerLogMaxSize 10Mi, containerLogMaxFiles 5.
"""

from __future__ import annotations

import contextlib
import os

FILE_BYTES = 10 * 1024 * 1024
FILES = 5


def name(number: int) -> str:
    """What the file of that number is called."""
    return "log.%d" % number if number else "log"


class Log:
    """The log of one attempt, open for its one writer.

    Args:
        directory: a descriptor of the attempt's folder; it stays the caller's.
    """

    def __init__(self, directory: int) -> None:
        self._directory = directory
        self._number = 0
        self._file = self._open()
        self._room = FILE_BYTES - os.fstat(self._file).st_size

    def write(self, piece: bytes) -> None:
        """Append it; what a full disk has no room for is lost, for no container waits for a disk.

        A file ends with a whole line, unless a line is longer than the piece.
        """
        while len(piece) > self._room:
            cut = piece.rfind(b"\n", 0, max(self._room, 0)) + 1
            cut = cut or piece.find(b"\n") + 1 or len(piece)
            self._append(piece[:cut])
            piece = piece[cut:]
            if not self._turn():
                break
        self._append(piece)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _append(self, piece: bytes) -> None:
        while piece:
            try:
                written = os.write(self._file, piece)
            except OSError:
                return
            self._room -= written
            piece = piece[written:]

    def _turn(self) -> bool:
        """Go on in the next file; False: the disk has no room for one, so the old one grows on."""
        before, self._number = self._file, self._number + 1
        try:
            self._file = self._open()
        except OSError:
            self._number -= 1
            return False
        os.close(before)
        self._room = FILE_BYTES
        if self._number >= FILES:
            with contextlib.suppress(OSError):
                os.unlink(name(self._number - FILES), dir_fd=self._directory)
        return True

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return os.open(name(self._number), flags, 0o600, dir_fd=self._directory)
