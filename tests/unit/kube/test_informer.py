"""The watched copy: current, indexed, shared, and mended after every kind of break."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from bessemer.base.clock import Clock
from bessemer.kinds import meta
from bessemer.kinds.configmap import CONFIG_MAP
from bessemer.kinds.kind import Kind, Object
from bessemer.kinds.pod import POD
from bessemer.kube.client import (
    EVERYTHING,
    WHOLE_LOG,
    Client,
    DeleteOptions,
    EventType,
    LogOptions,
    ObjectList,
    PatchType,
    Selection,
    WatchEvent,
)
from bessemer.kube.errors import Expired, ServiceUnavailable
from bessemer.kube.informer import Informer, Informers


def make_map(name: str, namespace: str = "default", **parts: object) -> Object:
    return meta.new(CONFIG_MAP, name, namespace, **parts)


class Seen:
    """What a subscriber was told, and a way to wait for more."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self._changed = asyncio.Event()

    def __call__(self, type_: EventType, obj: Object) -> None:
        self.told.append((type_.value, meta.name(obj)))
        self._changed.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds():
                self._changed.clear()
                await self._changed.wait()


@contextlib.asynccontextmanager
async def running(runner: Informer | Informers) -> AsyncIterator[None]:
    task = asyncio.create_task(runner.run())
    try:
        async with asyncio.timeout(10):
            await runner.wait_synced()
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Flaky:
    """A client whose lists and watches fail as planned, and then work."""

    def __init__(self, client: Client, *failures: Exception) -> None:
        self._client = client
        self.failures = list(failures)
        self.lists = 0

    def fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)

    async def list(self, kind: Kind, selection: Selection = EVERYTHING) -> ObjectList:
        self.lists += 1
        self.fail()
        return await self._client.list(kind, selection)

    async def watch(
        self, kind: Kind, selection: Selection = EVERYTHING, *, since: str
    ) -> AsyncIterator[WatchEvent]:
        async for event in self._client.watch(kind, selection, since=since):
            yield event
            self.fail()

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Object:
        return await self._client.get(kind, name, namespace)

    async def apply(
        self, kind: Kind, obj: Object, *, manager: str, force: bool = False, subresource: str = ""
    ) -> Object:
        return await self._client.apply(
            kind, obj, manager=manager, force=force, subresource=subresource
        )

    def logs(
        self, name: str, namespace: str, options: LogOptions = WHOLE_LOG
    ) -> AsyncIterator[bytes]:
        return self._client.logs(name, namespace, options)

    async def create(self, kind: Kind, obj: Object, *, dry_run: bool = False) -> Object:
        return await self._client.create(kind, obj, dry_run=dry_run)

    async def update(self, kind: Kind, obj: Object, *, subresource: str = "") -> Object:
        return await self._client.update(kind, obj, subresource=subresource)

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
        return await self._client.patch(
            kind, name, namespace, patch, patch_type=patch_type, subresource=subresource
        )

    async def delete(
        self, kind: Kind, name: str, namespace: str = "", options: DeleteOptions | None = None
    ) -> None:
        await self._client.delete(kind, name, namespace, options)


async def test_the_copy_follows_the_api(client: Client, clock: Clock) -> None:
    await client.create(CONFIG_MAP, make_map("before"))
    informer, seen = Informer(client, clock, CONFIG_MAP), Seen()
    informer.subscribe(seen)
    async with running(informer):
        await client.create(CONFIG_MAP, make_map("a"))
        await client.patch(CONFIG_MAP, "a", "default", {"data": {"k": "v"}})
        await client.delete(CONFIG_MAP, "before", "default")
        await seen.until(lambda: ("DELETED", "before") in seen.told)
        stored = await client.get(CONFIG_MAP, "a", "default")
        assert informer.list() == [stored]
        assert informer.get("a", "default") is stored
        assert informer.get("before", "default") is None
    assert seen.told == [
        ("ADDED", "before"),
        ("ADDED", "a"),
        ("MODIFIED", "a"),
        ("DELETED", "before"),
    ]


async def test_who_subscribes_late_is_told_what_is_there(client: Client, clock: Clock) -> None:
    await client.create(CONFIG_MAP, make_map("a"))
    informer, seen = Informer(client, clock, CONFIG_MAP), Seen()
    async with running(informer):
        informer.subscribe(seen)
    assert seen.told == [("ADDED", "a")]


async def test_objects_are_found_by_namespace_labels_and_owner(
    client: Client, clock: Clock
) -> None:
    owner = await client.create(CONFIG_MAP, make_map("owner", "x"))
    owners = [meta.owner_reference(owner)]
    await client.create(CONFIG_MAP, make_map("a", "x", owners=owners, labels={"t": "1"}))
    await client.create(CONFIG_MAP, make_map("a", "y", labels={"t": "1"}))
    informer, seen = Informer(client, clock, CONFIG_MAP), Seen()
    informer.subscribe(seen)
    async with running(informer):
        assert sorted(meta.name(obj) for obj in informer.list("x")) == ["a", "owner"]
        assert len(informer.select(Selection(labels="t=1"))) == 2
        assert len(informer.select(Selection("y", labels="t=1"))) == 1
        (owned,) = informer.by_owner(meta.uid(owner))
        assert (meta.name(owned), meta.namespace(owned)) == ("a", "x")
        await client.patch(CONFIG_MAP, "a", "x", {"metadata": {"ownerReferences": None}})
        await seen.until(lambda: ("MODIFIED", "a") in seen.told)
        assert informer.by_owner(meta.uid(owner)) == []


async def test_after_an_expired_watch_the_differences_are_told(
    client: Client, clock: Clock
) -> None:
    for name in ("stays", "goes", "renewed"):
        await client.create(CONFIG_MAP, make_map(name))
    flaky = Flaky(client)
    informer, seen = Informer(flaky, clock, CONFIG_MAP), Seen()
    informer.subscribe(seen)
    async with running(informer):
        # The next event breaks the watch; what comes with it is only in the next list.
        flaky.failures.append(Expired("too old"))
        await asyncio.gather(
            client.patch(CONFIG_MAP, "stays", "default", {"data": {"k": "v"}}),
            client.delete(CONFIG_MAP, "goes", "default"),
            client.delete(CONFIG_MAP, "renewed", "default"),
            client.create(CONFIG_MAP, make_map("new")),
        )
        await client.create(CONFIG_MAP, make_map("renewed"))
        await seen.until(lambda: seen.told.count(("ADDED", "renewed")) == 2)
        await seen.until(lambda: ("DELETED", "goes") in seen.told)
        now = {meta.name(obj): obj for obj in (await client.list(CONFIG_MAP)).items}
        assert {meta.name(obj): obj for obj in informer.list()} == now
    assert flaky.lists == 2
    assert seen.told.count(("MODIFIED", "stays")) == 1
    assert seen.told.index(("DELETED", "renewed")) < len(seen.told) - 1


async def test_while_the_api_is_away_tries_come_less_and_less_often(
    client: Client, clock: Any
) -> None:
    away = [ServiceUnavailable("away") for _ in range(12)]
    await client.create(CONFIG_MAP, make_map("a"))
    informer = Informer(Flaky(client, *away), clock, CONFIG_MAP)
    async with running(informer):
        assert informer.get("a", "default") is not None
    assert clock.waits[:4] == [0.2, 0.4, 0.8, 1.6]
    assert max(clock.waits) == 30.0
    assert len(clock.waits) == 12


async def test_a_break_after_a_long_time_is_the_first_again(client: Client, clock: Any) -> None:
    flaky = Flaky(client, *[ServiceUnavailable("away") for _ in range(3)])
    informer, seen = Informer(flaky, clock, CONFIG_MAP), Seen()
    informer.subscribe(seen)
    async with running(informer):
        clock.seconds = 3600.0
        flaky.failures.append(ServiceUnavailable("away again"))
        await client.create(CONFIG_MAP, make_map("a"))
        await seen.until(lambda: len(clock.waits) == 4)
    assert clock.waits == [0.2, 0.4, 0.8, 0.2]


async def test_who_asks_for_the_same_gets_the_same_and_late_ones_run_too(
    client: Client, clock: Clock
) -> None:
    await client.create(CONFIG_MAP, make_map("a"))
    informers = Informers(client, clock)
    first = informers.of(CONFIG_MAP)
    assert informers.of(CONFIG_MAP) is first
    assert informers.of(CONFIG_MAP, Selection("x")) is not first
    async with running(informers):
        assert first.get("a", "default") is not None
        late = informers.of(POD)
        async with asyncio.timeout(10):
            await late.wait_synced()
        assert late.list() == []


async def test_a_handlers_bug_stops_neither_the_copy_nor_the_other_handlers(
    client: Client, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_type: EventType, obj: Object) -> None:
        raise KeyError("spec")

    informer, seen = Informer(client, clock, CONFIG_MAP), Seen()
    informer.subscribe(broken)
    informer.subscribe(seen)
    async with running(informer):
        await client.create(CONFIG_MAP, make_map("a"))
        await client.create(CONFIG_MAP, make_map("b"))
        await seen.until(lambda: len(seen.told) == 2)
    assert [record.message for record in caplog.records] == ["handler failed"] * 2
