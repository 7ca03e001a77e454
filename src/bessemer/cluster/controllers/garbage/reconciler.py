"""The collector: an index of all objects by uid and owner, and a queue of what to look at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial

from bessemer.base import logs
from bessemer.cluster.controllers.garbage import plan
from bessemer.control.reconcile import DONE, Key, Result
from bessemer.control.sources import Source
from bessemer.kinds import meta
from bessemer.kinds.kind import Kind, Object
from bessemer.kube.client import Client, DeleteOptions, EventType
from bessemer.kube.errors import Conflict, NotFound
from bessemer.kube.informer import Informers

_log = logs.get(__name__)


class GarbageCollector:
    """Keyed by uid. Subscribes to every kind; idle until ``start``."""

    def __init__(self, client: Client, informers: Informers, kinds: Iterable[Kind]) -> None:
        self._client = client
        self._source_of = informers.of
        self._objects: dict[str, tuple[Kind, Object]] = {}
        self._dependents: dict[str, dict[str, None]] = {}  # owner uid -> dependents' uids
        self._kinds = {(kind.api_version, kind.kind): kind for kind in kinds}
        self._informers = [informers.of(kind) for kind in kinds]
        self._enqueue: Callable[[Key], None] = lambda _key: None
        for kind, informer in zip(self._kinds.values(), self._informers, strict=True):
            informer.subscribe(partial(self._on_event, kind))

    def learn(self, kind: Kind) -> None:
        """Collect objects of that kind, too; in a version more it is the same objects."""
        is_new = all(each.resource != kind.resource for each in self._kinds.values())
        self._kinds[kind.api_version, kind.kind] = kind
        if is_new:
            informer = self._source_of(kind)
            self._informers.append(informer)
            informer.subscribe(partial(self._on_event, kind))

    async def wait_synced(self) -> None:
        """Wait until every kind was listed: before that, an owner may only seem absent."""
        await asyncio.gather(*(informer.wait_synced() for informer in self._informers))

    def start(self, enqueue: Callable[[Key], None]) -> None:
        """From now on tell of what a change lets others do."""
        self._enqueue = enqueue

    def sources(self) -> list[Source]:
        """What wakes it: every object about which there can be something to do."""
        return [Source(informer, _own_uid) for informer in self._informers]

    def _on_event(self, kind: Kind, event: EventType, obj: Object) -> None:
        uid = meta.uid(obj)
        before = self._objects.get(uid)
        for owner in _owners(before[1]) if before else ():
            self._forget(owner, uid)
        if event is EventType.DELETED:
            self._objects.pop(uid, None)
            for dependent in self._dependents.pop(uid, {}):
                self._enqueue(Key("", dependent))
        else:
            self._objects[uid] = (kind, obj)
            for owner in _owners(obj):
                self._dependents.setdefault(owner, {})[uid] = None
        # A dependent's change may free an owner that waits for it.
        for owner in _owners(obj):
            if self._waits(owner):
                self._enqueue(Key("", owner))

    def _forget(self, owner: str, uid: str) -> None:
        dependents = self._dependents.get(owner, {})
        dependents.pop(uid, None)
        if not dependents:
            self._dependents.pop(owner, None)

    def _waits(self, uid: str) -> bool:
        known = self._objects.get(uid)
        return known is not None and meta.is_deleting(known[1])

    async def reconcile(self, key: Key) -> Result:
        """Look at one object, by its uid."""
        known = self._objects.get(key.name)
        if known is None:
            return DONE
        kind, obj = known
        if meta.is_deleting(obj):
            await self._finish(kind, obj)
            return DONE
        absent = await self._absent(obj)
        match plan.judge(obj, partial(self._look_up, absent)):
            case plan.Delete(propagation):
                if propagation == "Foreground" and self._is_in_circle(kind, obj):
                    obj = await self._patch(kind, obj, plan.unblocking(obj)) or obj
                options = DeleteOptions(propagation=propagation, uid=meta.uid(obj))
                await self._delete(kind, obj, options)
            case plan.Unlink(references):
                await self._patch(kind, obj, plan.references_patch(obj, references))
            case plan.Keep():
                pass
        return DONE

    def _look_up(self, absent: frozenset[str], reference: Object) -> plan.Owner:
        if reference["uid"] in absent:
            return plan.Owner.GONE
        known = self._objects.get(reference["uid"])
        return plan.Owner.WAITING if known and _is_waiting(known[1]) else plan.Owner.THERE

    def _is_in_circle(self, kind: Kind, obj: Object) -> bool:
        """Whether one that it is to wait for waits for it."""
        return any(_is_waiting(each) for _, each in self._dependents_of(kind, obj))

    def _dependents_of(self, kind: Kind, owner: Object) -> list[tuple[Kind, Object]]:
        known = [self._objects[uid] for uid in self._dependents.get(meta.uid(owner), {})]
        return [each for each in known if plan.depends(each[1], kind, owner)]

    async def _absent(self, obj: Object) -> frozenset[str]:
        """The owners that are not there, asked at the API: a cache may be behind."""
        gone = []
        for reference in obj["metadata"].get("ownerReferences") or ():
            known = self._objects.get(reference["uid"])
            if known is not None and plan.is_named(reference, *known, obj):
                continue
            kind = self._kinds.get((reference["apiVersion"], reference["kind"]))
            namespace = meta.namespace(obj)
            if kind is None or (kind.namespaced and not namespace):
                continue  # not of ours, or of no one namespace: it can't be judged
            try:
                where = namespace if kind.namespaced else ""
                found = await self._client.get(kind, reference["name"], where)
            except NotFound:
                gone.append(reference["uid"])
                continue
            if meta.uid(found) != reference["uid"]:
                gone.append(reference["uid"])
        return frozenset(gone)

    async def _finish(self, kind: Kind, owner: Object) -> None:
        """Do what the owner's deletion waits for."""
        uid = meta.uid(owner)
        known = self._dependents_of(kind, owner)
        if meta.ORPHAN in _finalizers(owner):
            for dependent_kind, obj in known:
                await self._patch(dependent_kind, obj, plan.references_without(obj, uid))
            await self._patch(kind, owner, plan.finalizers_without(owner, meta.ORPHAN))
        elif meta.FOREGROUND in _finalizers(owner):
            for _, obj in known:
                if not meta.is_deleting(obj):
                    self._enqueue(Key("", meta.uid(obj)))
            if not any(plan.blocks(obj, uid) for _, obj in known):
                await self._patch(kind, owner, plan.finalizers_without(owner, meta.FOREGROUND))

    async def _delete(self, kind: Kind, obj: Object, options: DeleteOptions) -> None:
        try:
            await self._client.delete(kind, meta.name(obj), meta.namespace(obj), options)
        except (NotFound, Conflict):  # gone, or another of that name
            return
        _log.debug(
            "dependent deleted",
            extra=logs.fields(kind=str(kind), object=f"{meta.namespace(obj)}/{meta.name(obj)}"),
        )

    async def _patch(self, kind: Kind, obj: Object, patch: Object) -> Object | None:
        """The object as it is then; None when it is gone."""
        try:
            return await self._client.patch(kind, meta.name(obj), meta.namespace(obj), patch)
        except NotFound:
            return None


def _owners(obj: Object) -> list[str]:
    return [reference["uid"] for reference in obj["metadata"].get("ownerReferences") or ()]


def _finalizers(obj: Object) -> list[str]:
    return obj["metadata"].get("finalizers") or []


def _is_waiting(obj: Object) -> bool:
    """Whether it is being deleted in the foreground: it waits for its dependents."""
    return meta.is_deleting(obj) and meta.FOREGROUND in _finalizers(obj)


def _own_uid(obj: Object) -> Iterable[Key]:
    return (Key("", meta.uid(obj)),) if _matters(obj) else ()


def _matters(obj: Object) -> bool:
    """Whether there can be something to do about the object itself."""
    if meta.is_deleting(obj):
        return meta.FOREGROUND in _finalizers(obj) or meta.ORPHAN in _finalizers(obj)
    return bool(obj["metadata"].get("ownerReferences"))
