"""Writes that are in the informers before they return.

A reconciler that decides from a cache must not decide twice on the same facts (it would create
the same pod again). Upstream counts expected events; here a write simply waits for its own event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any

from bessemer.kinds import meta
from bessemer.kinds.kind import Kind, Object
from bessemer.kube.client import Client, DeleteOptions, EventType, PatchType
from bessemer.kube.errors import ApiError, Conflict, NotFound
from bessemer.kube.informer import Informer, Informers

_PATIENCE = 10.0  # seconds until a lost event becomes an error that the controller retries


class _Tail:
    """How far an informer is, and who waits for it."""

    def __init__(self, informer: Informer) -> None:
        self.informer = informer
        self.seen = 0
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        informer.subscribe(self._on_event)

    def _on_event(self, event: EventType, obj: Object) -> None:
        self.seen = max(self.seen, _version(obj))
        still = []
        for reached, future in self._waiting:
            if future.done():
                continue
            if reached():
                future.set_result(None)
            else:
                still.append((reached, future))
        self._waiting = still

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until it holds, asked after each event."""
        if reached():
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((reached, future))
        async with asyncio.timeout(_PATIENCE):
            await future

    def has(self, obj: Object) -> Callable[[], bool]:
        """Whether this version of the object, or a later event, went through."""
        version = _version(obj)
        return lambda: self.seen >= version or self._holds(obj, version)

    def _holds(self, obj: Object, version: int) -> bool:
        known = self.informer.get(meta.name(obj), meta.namespace(obj))
        return known is not None and _version(known) >= version

    def lost(self, obj: Object) -> Callable[[], bool]:
        """Whether the object is gone or on its way."""

        def check() -> bool:
            known = self.informer.get(meta.name(obj), meta.namespace(obj))
            return known is None or meta.uid(known) != meta.uid(obj) or meta.is_deleting(known)

        return check


class Writer:
    """A client for the kinds that a controller both watches and writes."""

    def __init__(self, client: Client, informers: Informers, kinds: Iterable[Kind]) -> None:
        self._client = client
        self._tails = {kind.resource: _Tail(informers.of(kind)) for kind in kinds}

    async def create(self, kind: Kind, obj: Object) -> Object:
        """Create, and see it in the cache."""
        return await self._seen(kind, await self._client.create(kind, obj))

    async def update_status(self, kind: Kind, obj: Object, status: Object) -> Object:
        """Write the status if it is another one, guarded by the version that was read."""
        if obj.get("status") == status:
            return obj
        written = {**obj, "status": status}
        return await self._seen(
            kind, await self._client.update(kind, written, subresource="status")
        )

    async def update(self, kind: Kind, obj: Object) -> Object:
        """Replace, guarded by the version that was read."""
        return await self._seen(kind, await self._client.update(kind, obj))

    async def patch(
        self, kind: Kind, obj: Object, patch: Any, *, patch_type: PatchType = PatchType.MERGE
    ) -> Object | None:
        """Change parts; None when the object is gone."""
        try:
            stored = await self._client.patch(
                kind, meta.name(obj), meta.namespace(obj), patch, patch_type=patch_type
            )
        except NotFound:
            return None
        return await self._seen(kind, stored)

    async def delete(self, kind: Kind, obj: Object, *, propagation: str = "Background") -> bool:
        """Ask for this very object's end; False when it was gone already."""
        options = DeleteOptions(propagation=propagation, uid=meta.uid(obj))
        try:
            await self._client.delete(kind, meta.name(obj), meta.namespace(obj), options)
        except (NotFound, Conflict):  # gone, or another of that name
            return False
        tail = self._tails[kind.resource]
        await tail.until(tail.lost(obj))
        return True

    async def _seen(self, kind: Kind, obj: Object) -> Object:
        tail = self._tails[kind.resource]
        await tail.until(tail.has(obj))
        return obj


async def together(writes: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Make writes side by side; the first failure is raised once all have come to their end.

    A write that is still under way when its key is tried again would be decided on twice.
    """
    results = await asyncio.gather(*writes, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


async def slow_start(writes: Sequence[Callable[[], Awaitable[object]]]) -> ApiError | None:
    """Make writes one, two, four, ... at a time; the first refusal, once those beside it ended.

    What would be refused for all of them is refused to a few. Source:
    k8s.io/kubernetes pkg/controller/controller_utils.go, slowStartBatch.
    """
    begun = 0
    for size in _batches(len(writes)):
        batch = writes[begun : begun + size]
        begun += size
        results = await asyncio.gather(*(write() for write in batch), return_exceptions=True)
        for result in results:
            if isinstance(result, ApiError):
                return result
            if isinstance(result, BaseException):
                raise result
    return None


def _batches(total: int) -> Iterator[int]:
    size = 1
    while total > 0:
        yield min(size, total)
        total, size = total - size, size * 2


def _version(obj: Object) -> int:
    return int(obj["metadata"].get("resourceVersion") or 0)
