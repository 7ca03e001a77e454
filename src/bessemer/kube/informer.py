"""A watched copy of a kind's objects in memory: list, watch, relist on 410, back-off on errors.

Source: client-go tools/cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from bessemer.base import logs
from bessemer.base.clock import Clock
from bessemer.base.logs import fields
from bessemer.kinds import meta
from bessemer.kinds.kind import Kind, Object
from bessemer.kube import selectors
from bessemer.kube.client import EVERYTHING, Client, EventType, Selection
from bessemer.kube.errors import ApiError, Expired

_log = logs.get(__name__)

# Waits between tries when the API does not answer. Source: client-go reflector.
BACKOFF_FIRST_SECONDS = 0.2
BACKOFF_MOST_SECONDS = 30.0

Objects = list[Object]  # inside Informer, list is its method
Handler = Callable[[EventType, Object], None]


class Informer:
    """One kind's selected objects, kept current while ``run`` runs.

    Objects handed out are shared: never modify them.
    """

    def __init__(
        self, client: Client, clock: Clock, kind: Kind, selection: Selection = EVERYTHING
    ) -> None:
        self.kind = kind
        self.selection = selection
        self._client = client
        self._clock = clock
        self._spaces: dict[str, dict[str, Object]] = {}
        self._owned: dict[str, dict[tuple[str, str], Object]] = {}
        self._handlers: list[Handler] = []
        self._synced = asyncio.Event()
        self._version = ""

    @property
    def synced(self) -> bool:
        """Whether the first list is in."""
        return self._synced.is_set()

    def get(self, name: str, namespace: str = "") -> Object | None:
        """The object as last seen."""
        space = self._spaces.get(namespace)
        return space.get(name) if space else None

    def list(self, namespace: str = "") -> Objects:
        """All objects of a namespace ("" = all), in no order."""
        if namespace:
            return list(self._spaces.get(namespace, {}).values())
        return [obj for space in self._spaces.values() for obj in space.values()]

    def select(self, selection: Selection) -> Objects:
        """The objects with these labels and fields."""
        matches = selectors.matcher(self.kind, selection)
        found = self.list(selection.namespace)
        return found if matches is None else [obj for obj in found if matches(obj)]

    def by_owner(self, uid: str) -> Objects:
        """The objects with an owner reference to that uid."""
        return list(self._owned.get(uid, {}).values())

    def subscribe(self, handler: Handler) -> None:
        """Call the handler on every change, and now with what is there (as ADDED).

        It is called on the event loop, after the copy changed, and must not wait or raise.
        """
        self._handlers.append(handler)
        for obj in self.list():
            self._tell_one(handler, EventType.ADDED, obj)

    async def wait_synced(self) -> None:
        """Return when the first list is in."""
        await self._synced.wait()

    async def run(self) -> None:
        """Keep the copy current, for ever."""
        failures = 0
        while True:
            begun = self._clock.monotonic()
            try:
                if not self._version:
                    await self._relist()
                await self._follow()
                failures = 0
                # The server ended it, as it may: go on soon, but never in a tight circle.
                await self._clock.sleep(BACKOFF_FIRST_SECONDS)
            except Expired:
                self._version = ""
            except ApiError as error:
                self._version = ""
                if self._clock.monotonic() - begun > BACKOFF_MOST_SECONDS:
                    failures = 0  # it went well for long: what failed then is no repetition
                wait = min(BACKOFF_FIRST_SECONDS * 2**failures, BACKOFF_MOST_SECONDS)
                failures = min(failures + 1, 16)
                _log.warning(
                    "watch failed",
                    extra=fields(kind=str(self.kind), wait_s=wait, reason=str(error)),
                )
                await self._clock.sleep(wait)

    async def _relist(self) -> None:
        found = await self._client.list(self.kind, self.selection)
        gone = {(meta.namespace(obj), meta.name(obj)): obj for obj in self.list()}
        for obj in found.items:
            old = gone.pop((meta.namespace(obj), meta.name(obj)), None)
            if old is not None and meta.uid(old) != meta.uid(obj):
                self._remove(old)
            self._set(obj)
        for old in gone.values():
            self._remove(old)
        self._version = found.resource_version
        self._synced.set()

    async def _follow(self) -> None:
        async for type_, obj in self._client.watch(self.kind, self.selection, since=self._version):
            match type_:
                case EventType.ADDED | EventType.MODIFIED:
                    self._set(obj)
                case EventType.DELETED:
                    self._remove(obj)
                case EventType.BOOKMARK:
                    pass
            self._version = obj["metadata"]["resourceVersion"]

    def _set(self, obj: Object) -> None:
        namespace, name = meta.namespace(obj), meta.name(obj)
        space = self._spaces.setdefault(namespace, {})
        old = space.get(name)
        if old is not None:
            if old["metadata"].get("resourceVersion") == obj["metadata"].get("resourceVersion"):
                return
            self._disown(old)
        space[name] = obj
        for uid in _owners(obj):
            self._owned.setdefault(uid, {})[namespace, name] = obj
        self._tell(EventType.ADDED if old is None else EventType.MODIFIED, obj)

    def _remove(self, obj: Object) -> None:
        namespace, name = meta.namespace(obj), meta.name(obj)
        old = self._spaces.get(namespace, {}).pop(name, None)
        if old is None:
            return
        if not self._spaces[namespace]:
            del self._spaces[namespace]
        self._disown(old)
        self._tell(EventType.DELETED, obj)

    def _disown(self, obj: Object) -> None:
        key = meta.namespace(obj), meta.name(obj)
        for uid in _owners(obj):
            owned = self._owned.get(uid)
            if owned is not None:
                owned.pop(key, None)
                if not owned:
                    del self._owned[uid]

    def _tell(self, type_: EventType, obj: Object) -> None:
        for handler in self._handlers:
            self._tell_one(handler, type_, obj)

    def _tell_one(self, handler: Handler, type_: EventType, obj: Object) -> None:
        try:
            handler(type_, obj)
        except Exception:  # noqa: BLE001 - a handler's bug must not stop the copy, nor the others
            about = f"{meta.namespace(obj)}/{meta.name(obj)}"
            _log.exception("handler failed", extra=fields(kind=str(self.kind), object=about))


def _owners(obj: Object) -> Iterable[str]:
    return (reference["uid"] for reference in obj["metadata"].get("ownerReferences") or ())


class Informers:
    """One informer a kind and selection, shared by all who ask for it."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._all: dict[tuple[str, Selection], Informer] = {}
        self._added: asyncio.Queue[Informer] = asyncio.Queue()

    def of(self, kind: Kind, selection: Selection = EVERYTHING) -> Informer:
        """The informer; new ones start with ``run``, or at once if that already runs."""
        key = (kind.resource, selection)
        informer = self._all.get(key)
        if informer is None:
            informer = self._all[key] = Informer(self._client, self._clock, kind, selection)
            self._added.put_nowait(informer)
        return informer

    async def wait_synced(self) -> None:
        """Return when the first list of each informer known now is in."""
        for informer in list(self._all.values()):
            await informer.wait_synced()

    async def run(self) -> None:
        """Run all informers, those asked for later too, for ever."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                informer = await self._added.get()
                tasks.create_task(informer.run(), name=f"informer {informer.kind}")
