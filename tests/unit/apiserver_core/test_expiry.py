"""Events end an hour after they last happened."""

from datetime import UTC, datetime, timedelta
from typing import Any

from bessemer.base.clock import format_time
from bessemer.cluster.apiserver.expiry import EVENT_LIFE, EventExpiry
from bessemer.cluster.apiserver.machine import Machine
from bessemer.cluster.store.store import Store
from bessemer.kinds import meta
from bessemer.kinds.event import EVENT
from bessemer.kube.requests import Target

START = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


class MovableClock:
    def __init__(self) -> None:
        self.moment = START

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("a sweep does not wait")


async def test_events_go_an_hour_after_they_last_happened(store: Store) -> None:
    clock = MovableClock()
    machine = Machine(store, clock)
    repeated = format_time(START + timedelta(minutes=30))
    for name, parts in (("old", {}), ("repeated", {"lastTimestamp": repeated})):
        event: dict[str, Any] = meta.new(EVENT, name, "default", **parts)
        await machine.create(Target(EVENT, "default"), event)

    async def left_after(passed: timedelta) -> list[str]:
        clock.moment = START + passed
        await EventExpiry(machine, clock).sweep()
        return [record.key.name for record in machine.list(EVENT).records]

    assert await left_after(EVENT_LIFE) == ["old", "repeated"]
    assert await left_after(EVENT_LIFE + timedelta(minutes=1)) == ["repeated"]
    assert await left_after(EVENT_LIFE + timedelta(minutes=31)) == []
