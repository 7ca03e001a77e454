"""Reading what users' programs wrote, without being led elsewhere by a link of theirs."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from bessemer.base.errors import BessemerError

MAX_BYTES = 64 * 1024 * 1024


class Unreadable(BessemerError):
    """The file is not there, not ours to show, or too large."""


def read_below(root: Path, path: str) -> bytes:
    """A file's content, if the file really is below the folder.

    Links are followed before the check, and the check is made again on what was opened: a program
    may swap a folder for a link in between.

    Raises:
        Unreadable: it is not, or can't be read.
    """
    try:
        real = Path(path).resolve(strict=True)
        _check_below(root, real, path)
        handle = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (OSError, ValueError, RuntimeError) as error:
        raise Unreadable(f"artifact file {path!r} can't be read: {error}") from error
    try:
        opened = Path(f"/proc/self/fd/{handle}")
        if opened.exists():
            _check_below(root, opened.resolve(), path)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise Unreadable(f"artifact {path!r} must be a file, but is a folder or a device")
        with open(handle, "rb", closefd=False) as file:
            data = file.read(MAX_BYTES + 1)
    finally:
        os.close(handle)
    if len(data) > MAX_BYTES:
        raise Unreadable(f"artifact {path!r} is larger than the {MAX_BYTES} bytes shown here")
    return data


def _check_below(root: Path, real: Path, path: str) -> None:
    if not real.is_relative_to(root.resolve()):
        raise Unreadable(
            f"only artifacts in the namespace's volumes are shown, but got {path!r}; "
            "open it where it is"
        )
