"""Reading what users' programs wrote, without being led elsewhere by a link of theirs."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bessemer.base.errors import BessemerError

MAX_BYTES = 1 << 20  # of a file that a page is made of
_PIECE = 1 << 18
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class Unreadable(BessemerError):
    """The file is not there, not ours to show, or no plain file."""


class Unsatisfiable(BessemerError):
    """The part that was asked for lies behind the end of the file."""


@dataclass(frozen=True)
class Opened:
    """An open plain file, to be closed.

    Attributes:
        size: bytes, when it was opened.
    """

    descriptor: int
    size: int

    def read(self, span: range) -> Iterator[bytes]:
        """Those bytes in pieces; fewer, if the file has been cut meanwhile. Blocking."""
        at = span.start
        while at < span.stop:
            piece = os.pread(self.descriptor, min(_PIECE, span.stop - at), at)
            if not piece:
                return
            at += len(piece)
            yield piece

    def close(self) -> None:
        """Let go of it."""
        os.close(self.descriptor)


def open_below(root: Path, path: str) -> Opened:
    """Open a plain file below the folder, by descriptors from the folder's own.

    A link anywhere below the folder is refused, so what lies elsewhere is never touched: nobody
    learns from the answer whether it exists.

    Raises:
        Unreadable: it is elsewhere, a link, no plain file, or not there.
    """
    parts = Path(path).parts
    if "\0" in path or ".." in parts or not Path(path).is_relative_to(root):
        raise Unreadable(
            f"only artifacts in the namespace's own claim are shown, but got {path!r}; "
            "open it where it is"
        )
    names = Path(path).relative_to(root).parts
    try:
        descriptor = _walk(root, names)
    except OSError as error:
        raise Unreadable(f"artifact file {path!r} can't be read: {_why(error)}") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise Unreadable(f"artifact {path!r} must be a file, but is a folder or a device")
    return Opened(descriptor, status.st_size)


def _walk(root: Path, names: tuple[str, ...]) -> int:
    here = os.open(root, _FOLDER & ~os.O_NOFOLLOW)
    for place, name in enumerate(names):
        flags = _FILE if place == len(names) - 1 else _FOLDER
        try:
            below = os.open(name, flags, dir_fd=here)
        finally:
            os.close(here)
        here = below
    return here


def _why(error: OSError) -> str:
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return "a link or a file stands where a folder should"
    return error.strerror or "it can't be opened"


def read_start(file: Opened) -> bytes:
    """The file's first ``MAX_BYTES``."""
    return b"".join(file.read(range(min(file.size, MAX_BYTES))))


def find_span(header: str, size: int) -> range | None:
    """The bytes that a Range header asks for; None: the whole file.

    Several ranges at once are not served, which RFC 9110 leaves free: the answer is then whole.

    Raises:
        Unsatisfiable: none of them are in the file.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        start, stop = max(size - int(match[2]), 0), size
    else:
        start, stop = int(match[1]), min(int(match[2] or size - 1) + 1, size)
        if match[2] and int(match[2]) < start:
            return None
    if start >= stop:
        raise Unsatisfiable(f"the file has {size} bytes, but was asked for {header[:80]!r}")
    return range(start, stop)
