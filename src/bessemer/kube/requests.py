"""What a request to the API is about, free of transport: shared by clients and the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from bessemer.kinds.kind import Kind


class Target(NamedTuple):
    """The object that a verb is about; the name is empty for create."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""  # status, scale, finalize


@dataclass(frozen=True)
class Page:
    """How much of a list, and from where."""

    limit: int = 0  # 0: all of it
    token: str = ""  # the continue token of the page before


@dataclass(frozen=True)
class ApplyOptions:
    """Who applies, and how. Source: metav1.PatchOptions."""

    manager: str  # who owns the applied fields afterwards
    force: bool = False  # takes over what others own
    dry_run: bool = False


ALL = Page()


@dataclass(frozen=True)
class WatchOptions:
    """Where a watch begins. Source: metav1.ListOptions."""

    since: str = ""  # "" and "0": with the state as it is, as ADDED events
    bookmarks: bool = False
    initial_events: bool = False  # the state as it is, then a bookmark that says so


FROM_STATE = WatchOptions()
