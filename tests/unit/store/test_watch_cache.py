"""Watches: selection, order, history, slow readers."""

import asyncio
import gc
import itertools
import tracemalloc
import weakref

import orjson
import pytest

from bessemer.cluster.store.records import Change, Key, Record, serialize
from bessemer.cluster.store.watch_cache import (
    HISTORY_BYTES,
    KEPT_BYTES,
    KEPT_EVENTS,
    WatchCache,
    Watcher,
)
from bessemer.kinds.kind import Object
from bessemer.kube.client import EventType
from bessemer.kube.errors import Expired, InternalError, Timeout


def make_record(version: int, namespace: str = "default", **labels: str) -> Record:
    obj: Object = {"metadata": {"labels": labels, "resourceVersion": str(version)}}
    return Record(Key("pods", namespace, "a"), version, obj, orjson.dumps(obj))


def added(version: int, namespace: str = "default", **labels: str) -> Change:
    return Change(EventType.ADDED, make_record(version, namespace, **labels), None)


def wants_x(obj: Object) -> bool:
    return "x" in obj["metadata"]["labels"]


async def test_a_watch_from_before_gets_what_it_missed_and_then_the_rest() -> None:
    hub = WatchCache(0)
    for version in (1, 2, 3):
        hub.publish(added(version))
    watcher = Watcher("", None)
    hub.attach("pods", watcher, since=1)
    hub.publish(added(4))
    assert [event.version for event in await watcher.take()] == [2, 3, 4]


async def test_other_namespaces_and_resources_are_not_told() -> None:
    hub = WatchCache(0)
    mine, other = Watcher("mine", None), Watcher("", None)
    hub.attach("pods", mine, since=0)
    hub.attach("nodes", other, since=0)
    hub.publish(added(1, "yours"))
    hub.publish(added(2, "mine"))
    assert [event.version for event in await mine.take()] == [2]
    assert await other.take(seconds=0) == []


async def test_an_object_enters_changes_and_leaves_a_selection() -> None:
    hub = WatchCache(0)
    watcher = Watcher("", wants_x)
    hub.attach("pods", watcher, since=0)
    states = [make_record(1), make_record(2, x="1"), make_record(3, x="2"), make_record(4)]
    hub.publish(Change(EventType.ADDED, states[0], None))
    for old, new in itertools.pairwise(states):
        hub.publish(Change(EventType.MODIFIED, new, old))
    events = await watcher.take()
    assert [(event.type, event.version) for event in events] == [
        ("ADDED", 2),
        ("MODIFIED", 3),
        ("DELETED", 4),
    ]
    # Gone for this reader: its last selected state, with the version at which it went.
    assert events[2].object["metadata"] == {"labels": {"x": "2"}, "resourceVersion": "4"}
    assert orjson.loads(events[2].data) == events[2].object


async def test_replayed_history_selects_as_live_events_do() -> None:
    hub = WatchCache(0)
    hub.publish(added(1, x="1"))
    hub.publish(Change(EventType.MODIFIED, make_record(2), make_record(1, x="1")))
    late = Watcher("", wants_x)
    hub.attach("pods", late, since=0)
    assert [event.type for event in await late.take()] == ["ADDED", "DELETED"]


async def test_history_is_bounded_and_says_so() -> None:
    hub = WatchCache(0, events=3)
    for version in range(1, 6):
        hub.publish(added(version))
    with pytest.raises(Expired, match=r"too old resource version: 1 \(2\)"):
        hub.attach("pods", Watcher("", None), since=1)
    watcher = Watcher("", None)
    hub.attach("pods", watcher, since=2)
    assert [event.version for event in await watcher.take()] == [3, 4, 5]


async def test_what_was_before_the_start_is_too_old_and_the_future_too_large() -> None:
    hub = WatchCache(7)
    with pytest.raises(Expired):
        hub.attach("pods", Watcher("", None), since=6)
    with pytest.raises(Timeout, match="Too large resource version: 8, current: 7"):
        hub.attach("pods", Watcher("", None), since=8)


async def test_a_slow_reader_is_ended_and_the_others_go_on() -> None:
    hub = WatchCache(0)
    slow, fast = Watcher("", None, limit=2), Watcher("", None, limit=2)
    hub.attach("pods", slow, since=0)
    hub.attach("pods", fast, since=0)
    seen = []
    for version in (1, 2, 3, 4):
        hub.publish(added(version))
        seen += [event.version for event in await fast.take()]
    assert seen == [1, 2, 3, 4]
    with pytest.raises(Expired, match="list again"):
        await slow.take()


async def test_what_a_reader_starts_with_does_not_count_as_slowness() -> None:
    hub = WatchCache(0)
    for version in range(1, 11):
        hub.publish(added(version))
    watcher = Watcher("", None, limit=1)
    hub.attach("pods", watcher, since=0)
    hub.publish(added(11))
    assert len(await watcher.take()) == 11
    hub.publish(added(12))
    hub.publish(added(13))
    with pytest.raises(Expired):
        await watcher.take()


async def test_a_waiting_reader_is_woken_by_an_event_and_by_the_end() -> None:
    hub = WatchCache(0)
    watcher = Watcher("", None)
    hub.attach("pods", watcher, since=0)
    waiting = asyncio.create_task(watcher.take())
    await asyncio.sleep(0)
    hub.publish(added(1))
    assert [event.version for event in await waiting] == [1]
    waiting = asyncio.create_task(watcher.take())
    await asyncio.sleep(0)
    hub.end_all(Expired("over"))
    with pytest.raises(Expired, match="over"):
        await waiting


async def test_a_selectors_bug_ends_its_own_watch_only(caplog: pytest.LogCaptureFixture) -> None:
    def broken(obj: Object) -> bool:
        raise TypeError("no such thing")

    hub = WatchCache(0)
    bad, good = Watcher("", broken), Watcher("", None)
    hub.attach("pods", bad, since=0)
    hub.attach("pods", good, since=0)
    hub.publish(added(1))
    hub.publish(added(2))
    assert [event.version for event in await good.take()] == [1, 2]
    with pytest.raises(InternalError):
        await bad.take()
    assert [record.message for record in caplog.records] == ["watch failed"]


async def test_a_detached_watcher_hears_nothing() -> None:
    hub = WatchCache(0)
    watcher = Watcher("", None)
    hub.attach("pods", watcher, since=0)
    hub.detach("pods", watcher)
    hub.publish(added(1))
    assert await watcher.take(seconds=0) == []


async def test_compaction_leaves_a_resources_last_events_and_says_what_is_gone() -> None:
    hub = WatchCache(0)
    for version in range(1, KEPT_EVENTS + 11):
        hub.publish(added(version))
    hub.compact(5)
    with pytest.raises(Expired):
        hub.attach("pods", Watcher("", None), since=4)
    hub.attach("pods", Watcher("", None), since=5)
    hub.compact(KEPT_EVENTS + 10)
    last = Watcher("", None)
    hub.attach("pods", last, since=10)
    assert len(await last.take()) == KEPT_EVENTS
    with pytest.raises(Expired):
        hub.attach("pods", Watcher("", None), since=9)


async def test_compaction_keeps_few_bytes_of_large_objects() -> None:
    hub = WatchCache(0)
    for version in (1, 2, 3):
        hub.publish(added(version, big="x" * KEPT_BYTES))
    hub.compact(2)
    watcher = Watcher("", None)
    hub.attach("pods", watcher, since=2)
    assert [event.version for event in await watcher.take()] == [3]
    with pytest.raises(Expired):
        hub.attach("pods", Watcher("", None), since=1)


async def test_history_counts_what_a_change_replaced() -> None:
    hub = WatchCache(0)
    size = HISTORY_BYTES // 5
    for version in range(2, 10):
        old = make_record(version - 1, x="x" * size)
        hub.publish(Change(EventType.MODIFIED, make_record(version, x="x" * size), old))
    watcher = Watcher("", None)
    with pytest.raises(Expired):
        hub.attach("pods", watcher, since=6)
    hub.attach("pods", watcher, since=7)
    assert [event.version for event in await watcher.take()] == [8, 9]


async def test_a_slow_reader_keeps_a_bounded_number_of_bytes() -> None:
    hub = WatchCache(0)
    slow = Watcher("", None, room=1000)
    hub.attach("pods", slow, since=0)
    hub.publish(added(1, big="x" * 2000))  # one alone always may
    assert [event.version for event in await slow.take()] == [1]
    hub.publish(added(2, big="x" * 600))
    hub.publish(added(3, big="x" * 600))
    with pytest.raises(Expired, match="list again"):
        await slow.take()


async def test_thousands_to_start_with_come_in_order_and_a_part_at_a_time() -> None:
    hub = WatchCache(0)
    for version in range(1, 1001):
        hub.publish(added(version))
    watcher = Watcher("", None)
    hub.attach("pods", watcher, since=0)
    hub.publish(added(1001))
    seen: list[int] = []
    parts = []
    while len(seen) < 1001:
        parts.append([event.version for event in await watcher.take()])
        seen += parts[-1]
    assert seen == list(range(1, 1002))
    assert max(map(len, parts)) < 1001


async def test_what_ended_a_watch_does_not_hold_its_reader() -> None:
    async def read(watcher: Watcher, connection: Thing) -> None:
        with pytest.raises(Expired):
            await watcher.take()
        assert connection

    connection = Thing()
    gone = weakref.ref(connection)
    watcher = Watcher("", None)
    watcher.end(Expired("over"))
    gc.disable()
    try:
        await read(watcher, connection)
        del connection, watcher
        assert gone() is None
    finally:
        gc.enable()


class Thing:
    """Can be referred to weakly."""


def test_serialized_objects_have_no_more_memory_than_bytes() -> None:
    obj: Object = {"metadata": {"name": "a"}, "text": "x" * 20_000}
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = [serialize(obj) for _ in range(50)]
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert orjson.loads(kept[0]) == obj
    assert taken < 1.1 * sum(map(len, kept))
