"""The folders behind PersistentVolumeClaims: each named by its claim's uid. Blocking.

What was written to a claim can't come up in a later one of the same name, whatever is killed in
between: that one has another uid, and a folder whose uid no claim has is deleted. People,
artifacts' URIs and the server's own readers reach a folder by the link ``<namespace>/<name>``;
mounts never do.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from bessemer.base import logs
from bessemer.base.home import Home
from bessemer.base.logs import fields
from bessemer.kinds import meta
from bessemer.kinds.kind import Object

_log = logs.get(__name__)
_DRAFT = ".new"


def ensure(home: Home, claim: Object) -> Path:
    """The claim's folder, made if it isn't there, and the link to it."""
    namespace, name = meta.namespace(claim), meta.name(claim)
    folder, link = home.claim_folder(meta.uid(claim)), home.claim(namespace, name)
    if not folder.is_dir():
        home.claims.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _take_over(claim, link, folder):
            folder.mkdir(exist_ok=True)
    _show(home, link, folder)
    return folder


def _take_over(claim: Object, link: Path, folder: Path) -> bool:
    """Take the folder that an earlier release made for this claim, by its name.

    Only a bound claim can have one: today the folder is there before a claim is said to be bound.
    """
    if meta.dig(claim, "status.phase") != "Bound" or link.is_symlink() or not link.is_dir():
        return False
    _log.info("volume is named by its claim's uid", extra=fields(folder=str(link)))
    link.rename(folder)
    return True


def _show(home: Home, link: Path, folder: Path) -> None:
    wanted = os.path.relpath(folder, link.parent)
    if link.is_symlink() and os.readlink(link) == wanted:
        return
    if link.is_dir() and not link.is_symlink():
        # Nobody's: no claim's folder lies there. It is deleted with what else no claim has.
        link.rename(_nobodys(home, link.name))
    link.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = link.with_name(f".{secrets.token_hex(8)}{_DRAFT}")
    draft.symlink_to(wanted)
    draft.replace(link)


def restore(home: Home, claims: Iterable[Object]) -> None:
    """Have the folder and the link of every claim that is bound, before anybody reads there."""
    for claim in claims:
        if meta.dig(claim, "status.phase") == "Bound":
            ensure(home, claim)


def find_strays(home: Home) -> list[tuple[Path, str]]:
    """All that lies among the volumes, each with the uid of the claim that it is of."""
    found = [(path, path.name) for path in _list(home.claims)]
    for namespace in _list(home.volumes):
        if namespace != home.claims and namespace.is_dir() and not namespace.is_symlink():
            found.extend((path, _uid_behind(path)) for path in _list(namespace))
    return found


def discard(home: Home, path: Path, uid: str) -> Path | None:
    """Take what was found for a stray out of sight; the folder to delete, if that is one.

    Not while ``ensure`` runs: what is there may be another claim's by now, and then stays.
    """
    if path.parent == home.claims:
        return path
    if not path.is_symlink():
        if not path.is_dir():
            return path
        home.claims.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path.rename(_nobodys(home, path.name))
    if _uid_behind(path) == uid:
        path.unlink()
        with contextlib.suppress(OSError):  # others of the namespace are there
            path.parent.rmdir()
    return None


def _nobodys(home: Home, name: str) -> Path:
    """A new name among the folders that is no claim's uid."""
    return home.claims / f"{name[:64]}.{secrets.token_hex(8)}"


def _uid_behind(path: Path) -> str:
    """The uid that a link names; "" for drafts, and for what an earlier release left."""
    if path.name.startswith("."):
        return ""
    try:
        return Path(os.readlink(path)).name
    except OSError:
        return ""


def _list(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
