"""The generic API machine: every verb for every kind, over the store, free of transport.

Authorization is the caller's; admission is called from here. A verb decides on the event loop
without waiting, against the latest pending state, and is answered when the store committed it.
So a patch or delete never conflicts with itself, and needs no retry.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol, cast

import orjson

from bessemer.base.clock import Clock
from bessemer.cluster.apiserver import deletion, reading, scale, strategy, versions
from bessemer.cluster.apiserver.fieldmanager import applying, tracking
from bessemer.cluster.apiserver.fieldmanager.entries import Entries, Write, same_but_for_times
from bessemer.cluster.apiserver.reading import Listing
from bessemer.cluster.apiserver.registry import Registry
from bessemer.cluster.store.records import Key, Record
from bessemer.cluster.store.store import Store
from bessemer.cluster.store.watch_cache import Event, Watcher
from bessemer.kinds.catalog import KINDS
from bessemer.kinds.kind import Kind, Object
from bessemer.kube import errors, patches
from bessemer.kube.access import ADMIN, User
from bessemer.kube.client import EVERYTHING, DeleteOptions, PatchType, Selection
from bessemer.kube.requests import ALL, FROM_STATE, ApplyOptions, Page, Target, WatchOptions

# As upstream: after so many random suffixes in a row were taken, something else is wrong.
_GENERATE_ATTEMPTS = 8


class Applied(NamedTuple):
    """What an apply came to."""

    record: Record
    created: bool  # there was no such object before


class Judge(Protocol):
    """Whether the applied object may be written; raises ApiError where not."""

    def __call__(self, obj: Object, *, creates: bool) -> None:
        """Nothing, or a refusal."""
        ...


# Who owns an object's fields after a write: by the object before and after, both without owners,
# and who did before.
_Owners = Callable[[Object, Object, Entries], Entries]


class Admission(Protocol):
    """What is decided before a write. Each may raise ApiError; objects given may be modified."""

    def admit_create(self, kind: Kind, obj: Object, user: User) -> Object:
        """The new object, with defaults."""
        ...

    def admit_update(
        self, kind: Kind, new: Object, old: Object, user: User, subresource: str
    ) -> Object:
        """The changed object, with defaults; ``old`` is never modified."""
        ...

    def admit_delete(self, kind: Kind, obj: Object, user: User) -> None:
        """Nothing, or a refusal."""
        ...


class AdmitAll:
    """Admission without rules: for the machine's own tests."""

    def admit_create(self, kind: Kind, obj: Object, user: User) -> Object:
        """The object as it is."""
        return obj

    def admit_update(
        self, kind: Kind, new: Object, old: Object, user: User, subresource: str
    ) -> Object:
        """The object as it is."""
        return new

    def admit_delete(self, kind: Kind, obj: Object, user: User) -> None:
        """No refusal."""


class Machine:
    """The verbs.

    Objects handed in become the machine's; records handed out are shared and never modified.

    Args:
        kinds: what it serves from the first; ``registry`` learns more.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        admission: Admission | None = None,
        kinds: Iterable[Kind] = KINDS,
    ) -> None:
        self._store = store
        self._clock = clock
        self._admission = admission or AdmitAll()
        self._snapshots = reading.Snapshots()
        self.registry = Registry(kinds)

    @property
    def version(self) -> int:
        """The resourceVersion of the last committed write."""
        return self._store.version

    # ---- kinds

    @property
    def kinds(self) -> dict[str, Kind]:
        """What is served, by resource."""
        return self.registry.kinds

    def forget(self, resource: str) -> None:
        """Serve a resource no more; its watches end."""
        self.registry.forget(resource)
        self._store.end_watches(resource)

    # ---- reads

    def lookup(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """See ``make_lookup``."""
        return make_lookup(self._store)(kind, namespace, name)

    def lookup_all(self, kind: Kind) -> Sequence[Object]:
        """The kind's objects as the writes on their way will leave them, in no order."""
        return [record.object for record in self._store.latest_of(kind.resource)]

    def get(self, target: Target) -> Record:
        """The committed object; its Scale for the scale subresource. Raises NotFound."""
        record = self._store.get(_key(target.kind, target.namespace, target.name))
        if record is None:
            raise errors.not_found(target.kind, target.name)
        if target.subresource == "scale":
            return _as_scale(target.kind, record)
        return versions.record(target.kind, record)

    def get_raw(self, target: Target) -> bytes:
        """The committed object as JSON."""
        return self.get(target).data

    def list(self, kind: Kind, selection: Selection = EVERYTHING, page: Page = ALL) -> Listing:
        """The selected objects at one moment, or one page of them.

        Raises:
            BadRequest: no selector, or no continue token of ours.
            Expired: the pages' moment is forgotten.
        """
        found = reading.select(self._store, self._snapshots, kind, selection, page)
        return versions.listing(kind, found)

    def list_raw(self, kind: Kind, selection: Selection = EVERYTHING, page: Page = ALL) -> bytes:
        """The list as JSON: a PodList, ConfigMapList, …"""
        return reading.join(kind, self.list(kind, selection, page))

    def watch(
        self,
        kind: Kind,
        selection: Selection = EVERYTHING,
        options: WatchOptions = FROM_STATE,
    ) -> Watcher:
        """Begin a watch; ``unwatch`` ends it. Raises Expired, Timeout, BadRequest."""
        return reading.watch(self._store, kind, selection, options)

    def unwatch(self, kind: Kind, watcher: Watcher) -> None:
        """Forget a watch."""
        self._store.unwatch(kind.resource, watcher)

    def bookmark(self, kind: Kind) -> Event:
        """What tells an idle watch how far it is; true only while nothing waits for it."""
        return reading.bookmark(kind, self._store.version)

    # ---- writes

    async def create(
        self,
        target: Target,
        obj: Object,
        user: User = ADMIN,
        *,
        dry_run: bool = False,
        manager: str = "",
    ) -> Record:
        """Store a new object; a manager, where one is named, owns its fields.

        Raises:
            AlreadyExists, BadRequest, Invalid: and what admission raises.
        """
        kind = target.kind
        generated = not (obj.get("metadata") or {}).get("name")
        for attempt in range(_GENERATE_ATTEMPTS):
            new = strategy.identify(kind, obj, target.namespace, target.name)
            strategy.prepare_create(kind, new, self._clock.now())
            key = _key(kind, new["metadata"].get("namespace", ""), new["metadata"]["name"])
            if self._store.latest(key) is None:
                break
            if not generated or attempt == _GENERATE_ATTEMPTS - 1:
                await self._store.quiet(key)
                raise errors.already_exists(kind, key.name)
        else:
            raise errors.InternalError("no name was tried")
        sent = tracking.fields_sent(kind, obj) if manager else {}
        new = self._admission.admit_create(kind, new, user)
        if manager:
            write = Write(manager, self._clock.now())
            new = tracking.join(new, tracking.create(kind, new, sent, write))
        if dry_run:
            return _draft(key, new)
        return await self._put(kind, key, new)

    async def update(
        self,
        target: Target,
        obj: Object,
        user: User = ADMIN,
        *,
        dry_run: bool = False,
        manager: str = tracking.OURS,
    ) -> Record:
        """Replace the object, or the subresource's part of it.

        Raises:
            NotFound, Conflict, BadRequest, Invalid: and what admission raises.
        """
        async with self._changing(target) as old:
            if target.subresource == "scale":
                obj = scale.apply(target.kind, old.object, obj)
            owners = self._follow(target, obj, manager)
            record = await self._replace(target, old, obj, user, owners, dry_run=dry_run)
        return _as_scale(target.kind, record) if target.subresource == "scale" else record

    async def patch(
        self,
        target: Target,
        patch: Any,
        patch_type: PatchType,
        user: User = ADMIN,
        *,
        dry_run: bool = False,
        manager: str = tracking.OURS,
    ) -> Record:
        """Change parts of the object, or of its subresource.

        Raises:
            NotFound, Conflict, BadRequest, Invalid: and what admission raises.
        """
        async with self._changing(target) as old:
            if target.subresource == "scale":
                seen = scale.read(target.kind, old.object)
                changed = patches.apply(scale.SCALE, seen, patch, patch_type)
                changed = scale.apply(target.kind, old.object, changed)
            else:
                changed = patches.apply(target.kind, old.object, patch, patch_type)
            owners = self._follow(target, changed, manager)
            record = await self._replace(target, old, changed, user, owners, dry_run=dry_run)
        return _as_scale(target.kind, record) if target.subresource == "scale" else record

    async def apply(
        self,
        target: Target,
        stated: Object,
        options: ApplyOptions,
        user: User = ADMIN,
        judge: Judge | None = None,
    ) -> Applied:
        """Make the object, or its subresource, hold what is stated, and the manager its owner.

        It is made where there is none. What the manager stated before and nobody states now is
        taken away.

        Raises:
            NotFound, Conflict, BadRequest, Invalid: and what admission and the judge raise.
        """
        kind = target.kind
        stated = _read_stated(target, stated)
        write = Write(options.manager, self._clock.now(), target.subresource)
        known = self._store.latest(_key(kind, target.namespace, target.name))
        if known is None and not target.subresource:
            applied = applying.apply(kind, None, stated, write, force=options.force)
            if judge is not None:
                judge(applied.object, creates=True)
            return Applied(
                await self._create_applied(target, applied, user, options), created=True
            )
        async with self._changing(target) as old:
            live = tracking.split(old.object)
            applied = applying.apply(kind, live, stated, write, force=options.force)
            if judge is not None:
                judge(applied.object, creates=False)
            record = await self._replace(
                target,
                old,
                applied.object,
                user,
                lambda *_: applied.entries,
                dry_run=options.dry_run,
            )
        return Applied(
            _as_scale(target.kind, record) if target.subresource == "scale" else record,
            created=False,
        )

    async def _create_applied(
        self, target: Target, applied: applying.Applied, user: User, options: ApplyOptions
    ) -> Record:
        kind = target.kind
        metadata = applied.object["metadata"]
        if uid := metadata.get("uid"):
            why = (
                f"uid mismatch: the provided object specified uid {uid}, and no existing object "
                "was found"
            )
            raise errors.conflict(kind, target.name, why)
        if not metadata.get("name"):
            raise errors.BadRequest(
                f"the name of the object ({target.name} based on URL) was undeterminable: name "
                "must be provided"
            )
        new = strategy.identify(kind, own(applied.object), target.namespace, target.name)
        strategy.prepare_create(kind, new, self._clock.now())
        new = tracking.join(self._admission.admit_create(kind, new, user), applied.entries)
        key = _key(kind, new["metadata"].get("namespace", ""), new["metadata"]["name"])
        return _draft(key, new) if options.dry_run else await self._put(kind, key, new)

    async def delete(
        self,
        target: Target,
        options: DeleteOptions,
        user: User = ADMIN,
        *,
        dry_run: bool = False,
    ) -> Record:
        """Ask for the object's end; gives it as it is now, or as it last was.

        Raises:
            NotFound, Conflict: and what admission raises.
        """
        async with self._changing(target) as old:
            kind = target.kind
            if why := deletion.broken_precondition(old.object, options):
                raise errors.conflict(kind, target.name, why)
            self._admission.admit_delete(kind, old.object, user)
            marked = deletion.mark(kind, old.object, options, self._clock.now())
            if dry_run:
                return old if marked is None else _draft(old.key, marked)
            if marked is None:
                return await self._store.remove(old)
            if marked is old.object:
                return await self._store.settle(old)
            return await self._store.put(old.key, marked)

    async def delete_collection(
        self,
        kind: Kind,
        selection: Selection,
        options: DeleteOptions,
        user: User = ADMIN,
        *,
        dry_run: bool = False,
    ) -> Sequence[Record]:
        """Ask for the end of all selected objects; they share one commit."""
        found = self.list(kind, selection).records
        targets = (Target(kind, record.key.namespace, record.key.name) for record in found)
        answers = await asyncio.gather(
            *(self.delete(target, options, user, dry_run=dry_run) for target in targets),
            return_exceptions=True,
        )
        records = []
        for answer in answers:
            if isinstance(answer, Record):
                records.append(answer)
            elif not isinstance(answer, errors.NotFound):
                raise answer
        return records

    @contextlib.asynccontextmanager
    async def _changing(self, target: Target) -> AsyncIterator[Record]:
        key = _key(target.kind, target.namespace, target.name)
        record = self._store.latest(key)
        try:
            if record is None:
                raise errors.not_found(target.kind, target.name)
            yield versions.record(target.kind, record)
        except errors.ApiError:
            # A refusal may rest on a write on its way: who reads again must see that one, else
            # a caller that tries again at once would turn in a circle for ever.
            await self._store.quiet(key)
            raise

    async def _replace(
        self,
        target: Target,
        old: Record,
        obj: Object,
        user: User,
        owners: _Owners,
        *,
        dry_run: bool,
    ) -> Record:
        kind = target.kind
        before, held = tracking.split(old.object)
        new = strategy.identify(kind, obj, target.namespace, target.name)
        new = strategy.prepare_update(kind, new, before, target.subresource)
        # It shares parts with the stored object, and admission fills in place.
        new = self._admission.admit_update(kind, own(new), before, user, target.subresource)
        changed = strategy.finish_update(kind, new, before)
        entries = owners(before, before if changed is None else changed, held)
        if changed is None and (entries is held or same_but_for_times(entries, held)):
            return await self._store.settle(old)
        changed = tracking.join(new if changed is None else changed, entries)
        if dry_run:
            return _draft(old.key, changed)
        if deletion.is_over(kind, changed):
            return await self._store.remove(Record(old.key, old.version, changed, b""))
        return await self._put(kind, old.key, changed)

    def _follow(self, target: Target, obj: Object, manager: str) -> _Owners:
        """Who owns the fields after an update to that object, by that manager."""
        sent = tracking.given(obj)

        def owners(before: Object, after: Object, held: Entries) -> Entries:
            kept = tracking.choose(held, sent, target.subresource)
            write = Write(manager, self._clock.now(), target.subresource)
            return tracking.update(target.kind, before, after, kept, write)

        return owners

    async def _put(self, kind: Kind, key: Key, obj: Object) -> Record:
        """Store it in the version that is stored."""
        if not versions.is_converted(kind):
            return await self._store_it(key, obj)
        record = await self._store_it(key, {**obj, "apiVersion": kind.stored})
        return versions.record(kind, record)

    def _store_it(self, key: Key, obj: Object) -> asyncio.Future[Record]:
        """Store it, rather without its owners than not at all. Source: the handlers' update.go."""
        try:
            return self._store.put(key, obj)
        except errors.TooLarge:
            if obj["metadata"].pop("managedFields", None) is None:
                raise
            return self._store.put(key, obj)


def _read_stated(target: Target, stated: Object) -> Object:
    kind = target.kind
    if target.subresource != "scale":
        return applying.read(kind, stated)
    stated = applying.read(scale.SCALE, stated)
    head = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": stated["metadata"]}
    return scale.apply(kind, head, stated)


def own(obj: Object) -> Object:
    """A deep copy of JSON, several times faster than copy.deepcopy."""
    return cast(Object, orjson.loads(orjson.dumps(obj)))


def make_lookup(store: Store) -> Callable[[Kind, str, str], Object | None]:
    """Reads objects as the writes on their way will leave them: what admission decides on."""

    def lookup(kind: Kind, namespace: str, name: str) -> Object | None:
        record = store.latest(_key(kind, namespace, name))
        return record.object if record else None

    return lookup


def _key(kind: Kind, namespace: str, name: str) -> Key:
    return Key(kind.resource, namespace if kind.namespaced else "", name)


def _draft(key: Key, obj: Object) -> Record:
    return Record(key, 0, obj, orjson.dumps(obj))


def _as_scale(kind: Kind, record: Record) -> Record:
    found = scale.read(kind, record.object)
    return Record(record.key, record.version, found, orjson.dumps(found))
