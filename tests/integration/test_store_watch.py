"""Watches under load: no gap, no repeat, no swap, whatever the selection and the moment."""

import asyncio
import random
from pathlib import Path

import pytest

from bessemer.base.clock import SystemClock
from bessemer.cluster.apiserver.machine import Machine
from bessemer.cluster.store.records import Key
from bessemer.cluster.store.store import Store
from bessemer.cluster.store.watch_cache import Event
from bessemer.kinds import meta
from bessemer.kinds.configmap import CONFIG_MAP
from bessemer.kinds.kind import Object
from bessemer.kube import selectors
from bessemer.kube.client import DeleteOptions, EventType, PatchType, Selection
from bessemer.kube.errors import ApiError, Expired
from bessemer.kube.requests import Target, WatchOptions

_SELECTIONS = [
    Selection(),
    Selection("s1"),
    Selection(labels="tier=a"),
    Selection("s0", labels="tier in (a,b)"),
    Selection(labels="!tier"),
    Selection(fields="metadata.name=n3"),
]


class Follower:
    """A reader that keeps its own copy from a list and a watch."""

    def __init__(self, machine: Machine, selection: Selection) -> None:
        listing = machine.list(CONFIG_MAP, selection)
        self.selection = selection
        self.start = listing.version
        self.state = {record.key: record.object for record in listing.records}
        options = WatchOptions(since=str(max(listing.version, 1)))
        self.watcher = machine.watch(CONFIG_MAP, selection, options)
        self.events: list[Event] = []

    async def follow(self) -> None:
        while True:
            for event in await self.watcher.take():
                self.events.append(event)
                self.apply(event)

    def apply(self, event: Event) -> None:
        metadata = event.object["metadata"]
        key = Key(CONFIG_MAP.resource, metadata["namespace"], metadata["name"])
        known = key in self.state
        match event.type:
            case EventType.ADDED:
                assert not known
                self.state[key] = event.object
            case EventType.MODIFIED:
                assert known
                self.state[key] = event.object
            case EventType.DELETED:
                assert known
                del self.state[key]
            case EventType.BOOKMARK:
                raise AssertionError("nobody asked for bookmarks")


async def write(machine: Machine, choose: random.Random, log: list[int], turns: int) -> None:
    for _ in range(turns):
        target = Target(CONFIG_MAP, f"s{choose.randrange(3)}", f"n{choose.randrange(6)}")
        tier = choose.choice(["a", "b", None])
        try:
            match choose.randrange(3):
                case 0:
                    obj: Object = meta.new(CONFIG_MAP, target.name, target.namespace)
                    obj["metadata"]["labels"] = {"tier": tier} if tier else {}
                    record = await machine.create(target, obj)
                case 1:
                    patch = {"metadata": {"labels": {"tier": tier}}, "data": {"n": str(len(log))}}
                    record = await machine.patch(target, patch, PatchType.MERGE)
                case _:
                    record = await machine.delete(target, DeleteOptions())
        except ApiError:
            continue
        log.append(record.version)


async def follow_writers(path: Path, seed: int, turns: int) -> int:
    """Checks every follower; how many events they saw together."""
    choose = random.Random(seed)
    store = Store(path)
    machine = Machine(store, SystemClock())
    followers: list[Follower] = []
    tasks: list[asyncio.Task[None]] = []
    log: list[int] = []

    async def join_now_and_then() -> None:
        for _ in range(12):
            follower = Follower(machine, choose.choice(_SELECTIONS))
            followers.append(follower)
            tasks.append(asyncio.create_task(follower.follow()))
            for _ in range(choose.randrange(20)):
                await asyncio.sleep(0)

    writers = [write(machine, random.Random(seed * 100 + n), log, turns) for n in range(8)]
    await asyncio.gather(join_now_and_then(), *writers)
    for follower in followers:
        follower.watcher.end(Expired("over"))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(result) for result in results] == ["over"] * len(tasks)
    for follower in followers:
        check(machine, follower, log)
    await store.close()
    return sum(len(follower.events) for follower in followers)


def check(machine: Machine, follower: Follower, log: list[int]) -> None:
    versions = [event.version for event in follower.events]
    assert versions == sorted(set(versions))
    now = machine.list(CONFIG_MAP, follower.selection).records
    assert follower.state == {record.key: record.object for record in now}
    if follower.selection == Selection():
        assert versions == sorted({version for version in log if version > follower.start})
    matches = selectors.matcher(CONFIG_MAP, follower.selection)
    if matches:
        assert all(matches(event.object) for event in follower.events)


@pytest.mark.parametrize("seed", range(6))
async def test_every_follower_ends_with_the_servers_state(tmp_path: Path, seed: int) -> None:
    assert await follow_writers(tmp_path / "objects.db", seed, 60) > 0


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 160))
async def test_every_follower_ends_with_the_servers_state_long(tmp_path: Path, seed: int) -> None:
    assert await follow_writers(tmp_path / "objects.db", seed, 300) > 0


async def test_guarded_increments_of_many_writers_all_count(tmp_path: Path) -> None:
    store = Store(tmp_path / "objects.db")
    machine = Machine(store, SystemClock())
    target = Target(CONFIG_MAP, "default", "counter")
    await machine.create(target, meta.new(CONFIG_MAP, "counter", "default", data={"n": "0"}))

    async def add(times: int) -> None:
        done = 0
        while done < times:
            now = machine.get(target).object
            new = {**now, "data": {"n": str(int(now["data"]["n"]) + 1)}}
            try:
                await machine.update(target, new)
            except ApiError:
                continue
            done += 1

    await asyncio.gather(*(add(10) for _ in range(20)))
    assert machine.get(target).object["data"] == {"n": "200"}
    await store.close()
