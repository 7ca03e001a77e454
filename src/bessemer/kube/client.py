"""The client port: how every controller of ours talks to a Kubernetes API, whichever it is.

Laws (``tests/contract/kube/`` holds every implementation to them):

1. **Read objects are shared.** What get, list and watch return is never modified by the caller.
2. **Acknowledged is durable.** A write returns after the API committed it, with the stored object.
3. **Guarded.** update with a resourceVersion that is not the stored one raises ``Conflict``;
   without one it overwrites, but raises ``Invalid`` for Leases and custom kinds. create of a
   known name raises ``AlreadyExists``.
4. **Watch has no gap.** A watch from a list's resourceVersion sees every later change, each once,
   in order; a version too old raises ``Expired``, and the reader lists again.
5. **Delete is asked, not done**: with finalizers or a grace period the object stays, with
   deletionTimestamp, until they are over. Deleting what is not there raises ``NotFound``.
6. **A log is a stream.** Its first piece comes once there is a log, and is empty while nothing is
   in it; what can't be read raises before that. A reader that stops ends the stream.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from bessemer.kinds.kind import Kind, Object


class PatchType(StrEnum):
    """How a patch is to be read; the value is the request's Content-Type."""

    JSON = "application/json-patch+json"  # RFC 6902, a list of operations
    MERGE = "application/merge-patch+json"  # RFC 7386, null removes
    STRATEGIC = "application/strategic-merge-patch+json"  # lists merge by key, built-in kinds only
    APPLY = "application/apply-patch+yaml"  # server-side apply: fields are merged and owned


class EventType(StrEnum):
    """What happened to a watched object."""

    ADDED = "ADDED"  # new to this watch
    MODIFIED = "MODIFIED"  # changed
    DELETED = "DELETED"  # gone, or no longer selected
    BOOKMARK = "BOOKMARK"  # nothing: only tells a newer resourceVersion


class WatchEvent(NamedTuple):
    """One change; of a DELETED object, its last state."""

    type: EventType
    object: Object


class ObjectList(NamedTuple):
    """The objects at one moment, and that moment (where a watch goes on)."""

    items: Sequence[Object]
    resource_version: str


@dataclass(frozen=True)
class Selection:
    """Which objects of a kind: a namespace ("" = all), label and field selectors in API syntax."""

    namespace: str = ""
    labels: str = ""  # "app=a,tier in (x,y),!old"
    fields: str = ""  # "status.phase!=Running,spec.nodeName=n1"


EVERYTHING = Selection()


@dataclass(frozen=True)
class DeleteOptions:
    """How to delete. Source: metav1.DeleteOptions."""

    propagation: str = "Background"  # Background, Foreground, Orphan
    grace_seconds: int | None = None  # None: the object's own
    uid: str = ""  # only if this is still its uid
    resource_version: str = ""  # only if this is still its resourceVersion


@dataclass(frozen=True)
class LogOptions:
    """What of a container's log. Source: v1.PodLogOptions."""

    container: str = ""  # empty: the only one
    follow: bool = False  # until the container ended
    previous: bool = False  # of the container's last attempt that ended
    since: datetime | None = None
    tail_lines: int | None = None
    limit_bytes: int | None = None
    timestamps: bool = False


WHOLE_LOG = LogOptions()


class Client(Protocol):
    """A Kubernetes API as one identity sees it. Errors are ``kube.errors.ApiError``."""

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Object:
        """The object; ``NotFound`` when there is none."""
        ...

    async def list(self, kind: Kind, selection: Selection = EVERYTHING) -> ObjectList:
        """All selected objects at one moment."""
        ...

    def watch(
        self, kind: Kind, selection: Selection = EVERYTHING, *, since: str
    ) -> AsyncIterator[WatchEvent]:
        """Changes after that resourceVersion, for ever; ``Expired`` when it is too old."""
        ...

    async def create(self, kind: Kind, obj: Object, *, dry_run: bool = False) -> Object:
        """Store a new object (its namespace from metadata) and return it as stored.

        With ``dry_run`` nothing is stored: it is only admitted, or refused.
        """
        ...

    async def update(self, kind: Kind, obj: Object, *, subresource: str = "") -> Object:
        """Replace the object; with ``subresource="status"`` only its status."""
        ...

    async def patch(
        self,
        kind: Kind,
        name: str,
        namespace: str,
        patch: Any,
        *,
        patch_type: PatchType = PatchType.MERGE,
        subresource: str = "",
    ) -> Object:
        """Change parts of the object and return it as stored."""
        ...

    async def apply(
        self, kind: Kind, obj: Object, *, manager: str, force: bool = False, subresource: str = ""
    ) -> Object:
        """Have the object hold what is stated, owned by the manager; it is made if it isn't there.

        What the manager stated before and nobody states now goes. With ``force`` it takes over
        what others own, else that raises ``Conflict``. Source: server-side apply.
        """
        ...

    async def delete(
        self, kind: Kind, name: str, namespace: str = "", options: DeleteOptions | None = None
    ) -> None:
        """Ask for the object's end."""
        ...

    def logs(
        self, name: str, namespace: str, options: LogOptions = WHOLE_LOG
    ) -> AsyncIterator[bytes]:
        """The bytes of a container's log, in pieces.

        Raises:
            NotFound: no such pod. BadRequest: no such container, several and none named, or none
            that has started; or there was a log, but it is gone.
        """
        ...
