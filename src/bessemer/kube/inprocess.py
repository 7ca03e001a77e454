"""The client over an API machine in the same process: no JSON, no copies on reads.

It acts as ``access.ADMIN``. What it needs of the machine is a port, since ``kube`` lies below.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, Protocol, cast

import orjson

from bessemer.kinds.kind import Kind, Object
from bessemer.kinds.pod import POD
from bessemer.kube.client import (
    EVERYTHING,
    WHOLE_LOG,
    DeleteOptions,
    EventType,
    LogOptions,
    ObjectList,
    PatchType,
    Selection,
    WatchEvent,
)
from bessemer.kube.errors import ServiceUnavailable
from bessemer.kube.requests import ApplyOptions, Target, WatchOptions

_BACKGROUND = DeleteOptions()


class Stored(Protocol):
    """A state of an object."""

    @property
    def object(self) -> Object:
        """It, shared."""
        ...


class Applied(Protocol):
    """What an apply came to."""

    @property
    def record(self) -> Stored:
        """The object after it."""
        ...


class Found(Protocol):
    """Objects at one moment."""

    @property
    def records(self) -> Sequence[Stored]:
        """They."""
        ...

    @property
    def version(self) -> int:
        """The moment."""
        ...


class Change(Stored, Protocol):
    """A change as a watch tells it."""

    @property
    def type(self) -> EventType:
        """What happened."""
        ...


class Watch(Protocol):
    """A running watch."""

    async def take(self) -> Sequence[Change]:
        """What happened since; raises Expired when it can't go on."""
        ...


class Api(Protocol):
    """The verbs of ``cluster.apiserver.machine.Machine``.

    Objects handed in become the API's; objects handed out are shared.
    """

    def get(self, target: Target) -> Stored: ...

    def list(self, kind: Kind, selection: Selection) -> Found: ...

    def watch(self, kind: Kind, selection: Selection, options: WatchOptions) -> Any: ...

    def unwatch(self, kind: Kind, watcher: Any) -> None: ...

    def create(
        self, target: Target, obj: Object, *, dry_run: bool = False
    ) -> Coroutine[Any, Any, Stored]: ...

    def update(self, target: Target, obj: Object) -> Coroutine[Any, Any, Stored]: ...

    def patch(
        self, target: Target, patch: Any, patch_type: PatchType
    ) -> Coroutine[Any, Any, Stored]: ...

    def apply(
        self, target: Target, stated: Object, options: ApplyOptions
    ) -> Coroutine[Any, Any, Applied]: ...

    def delete(self, target: Target, options: DeleteOptions) -> Coroutine[Any, Any, Stored]: ...


class PodLogs(Protocol):
    """The logs of a node's pods."""

    def read(self, pod: Object, options: LogOptions) -> AsyncIterator[bytes]:
        """As ``Client.logs``, of a pod that is there."""
        ...


class InProcessClient:
    """``kube.client.Client`` over a machine.

    There are logs once there is a node, which is made with this client: see ``serve_logs``.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._logs: PodLogs | None = None

    def serve_logs(self, logs: PodLogs) -> None:
        """From now on pods have logs: the node's."""
        self._logs = logs

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Object:
        """The object; ``NotFound`` when there is none."""
        return self._api.get(Target(kind, namespace, name)).object

    async def list(self, kind: Kind, selection: Selection = EVERYTHING) -> ObjectList:
        """All selected objects at one moment."""
        found = self._api.list(kind, selection)
        return ObjectList([record.object for record in found.records], str(found.version))

    async def watch(
        self, kind: Kind, selection: Selection = EVERYTHING, *, since: str
    ) -> AsyncIterator[WatchEvent]:
        """Changes after that resourceVersion, for ever; ``Expired`` when it is too old."""
        watch: Watch = self._api.watch(kind, selection, WatchOptions(since=since))
        try:
            while True:
                for change in await watch.take():
                    yield WatchEvent(change.type, change.object)
        finally:
            self._api.unwatch(kind, watch)

    async def create(self, kind: Kind, obj: Object, *, dry_run: bool = False) -> Object:
        """Store a new object (its namespace from metadata) and return it as stored."""
        return (await self._api.create(Target(kind), _own(obj), dry_run=dry_run)).object

    async def update(self, kind: Kind, obj: Object, *, subresource: str = "") -> Object:
        """Replace the object; with ``subresource="status"`` only its status."""
        metadata = obj["metadata"]
        target = Target(kind, metadata.get("namespace", ""), metadata["name"], subresource)
        return (await self._api.update(target, _own(obj))).object

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
        target = Target(kind, namespace, name, subresource)
        return (await self._api.patch(target, patch, patch_type)).object

    async def apply(
        self, kind: Kind, obj: Object, *, manager: str, force: bool = False, subresource: str = ""
    ) -> Object:
        """Have the object hold what is stated, owned by the manager."""
        metadata = obj["metadata"]
        target = Target(kind, metadata.get("namespace", ""), metadata["name"], subresource)
        options = ApplyOptions(manager, force)
        return (await self._api.apply(target, _own(obj), options)).record.object

    async def delete(
        self, kind: Kind, name: str, namespace: str = "", options: DeleteOptions | None = None
    ) -> None:
        """Ask for the object's end."""
        await self._api.delete(Target(kind, namespace, name), options or _BACKGROUND)

    async def logs(
        self, name: str, namespace: str, options: LogOptions = WHOLE_LOG
    ) -> AsyncIterator[bytes]:
        """The bytes of a container's log, in pieces."""
        pod = self._api.get(Target(POD, namespace, name)).object
        if self._logs is None:
            raise ServiceUnavailable("no node agent runs here, so there are no logs to read")
        async for piece in self._logs.read(pod, options):
            yield piece


def _own(obj: Object) -> Object:
    # The caller keeps its object: what is stored must not change with it.
    return cast(Object, orjson.loads(orjson.dumps(obj)))
