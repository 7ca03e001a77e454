"""Reading what users' programs wrote, without being led elsewhere by a link of theirs."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from bessemer.base.errors import BessemerError

MAX_BYTES = 64 * 1024 * 1024
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Unreadable(BessemerError):
    """The file is not there, not ours to show, or too large."""


def read_below(root: Path, path: str) -> bytes:
    """The content of a file in a volume.

    The path is judged before the machine is asked, and walked from the volume by descriptors,
    through no link: nobody is shown, or told of, anything else that the machine has.

    Args:
        root: the folder of a namespace's volumes; one may be a link of the server's own.
        path: root, the volume's name, and where the file is in it.

    Raises:
        Unreadable: it is not there, or can't be read.
    """
    handle = _open(root, path)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise Unreadable(f"artifact {path!r} must be a file, but is a folder or a device")
        with open(handle, "rb", closefd=False) as file:
            data = file.read(MAX_BYTES + 1)
    finally:
        os.close(handle)
    if len(data) > MAX_BYTES:
        raise Unreadable(f"artifact {path!r} is larger than the {MAX_BYTES} bytes shown here")
    return data


def _open(root: Path, path: str) -> int:
    wanted = Path(path)
    if "\0" in path or ".." in wanted.parts or not wanted.is_relative_to(root):
        raise Unreadable(
            f"only artifacts in the namespace's volumes are shown, but got {path!r}; "
            "open it where it is"
        )
    volume, *folders = wanted.relative_to(root).parts or ("",)
    try:
        here = os.open(root / volume, _FOLDER & ~os.O_NOFOLLOW)
        try:
            *folders, name = folders or (".",)
            for folder in folders:
                below = os.open(folder, _FOLDER, dir_fd=here)
                os.close(here)
                here = below
            return os.open(name, _FILE, dir_fd=here)
        finally:
            os.close(here)
    except OSError as error:
        raise Unreadable(f"artifact file {path!r} can't be read: {error.strerror}") from error
