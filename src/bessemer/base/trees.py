"""Deleting what programs of users made, whatever they made of it.

A pod may nest folders deeper than paths are long and than ``shutil.rmtree`` can follow (it holds
one descriptor and one frame a level), and take its own rights on them away.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove(path: Path) -> None:
    """Delete a folder and all below it, or a file; what can't be deleted stays. Blocking.

    No link is followed. Folders in a folder are moved to the top before they are emptied, so that
    depth costs neither descriptors nor frames.
    """
    try:
        is_folder = stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return
    if not is_folder:
        with contextlib.suppress(OSError):
            path.unlink()
        return
    with contextlib.suppress(OSError):
        top = _open(str(path), None)
        try:
            _empty(top)
        finally:
            os.close(top)
        path.rmdir()


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
