"""The home's folder in memory, where containers' Secrets and tokens lie in clear.

As upstream's kubelet, which gives the volumes of Secrets, of tokens and of a pod's own fields a
tmpfs each (pkg/volume/secret, projected, downwardapi), so that they never reach a disk. It is
also the cheaper place: a pod's token alone is ten small files, made and deleted.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from bessemer.base import trees
from bessemer.base.home import Home
from bessemer.base.ids import hash_name

_MEMORY = Path("/dev/shm")  # tmpfs on every Linux
_PRIVATE = 0o700


def locate(home: Home) -> Path:
    """Where the home's folder in memory is, or would be."""
    return _MEMORY / f"bessemer-{hash_name(str(home.root))}"


def make(home: Home) -> Path | None:
    """The home's folder in memory; None where there is none that nobody else can enter."""
    path = locate(home)
    try:
        path.mkdir(mode=_PRIVATE, exist_ok=True)
        seen = path.lstat()
    except OSError:
        return None
    # Everybody may write in the folder above: another user's folder, or link, is not ours.
    is_ours = stat.S_ISDIR(seen.st_mode) and seen.st_uid == os.getuid()
    return path if is_ours and stat.S_IMODE(seen.st_mode) == _PRIVATE else None


def remove(home: Home) -> None:
    """Delete it: no pod of the home runs any more."""
    trees.remove(locate(home))


def remove_if_empty(home: Home) -> None:
    """Delete it unless a pod still needs it."""
    with contextlib.suppress(OSError):
        locate(home).rmdir()
