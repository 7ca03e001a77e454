"""A change that nobody told is found within a period, and no sooner than need be."""

import asyncio
from typing import Any

from bessemer.control.controller import Controller
from bessemer.control.reconcile import DONE, Key, Result
from bessemer.control.resync import spread
from bessemer.control.sources import Source, own_key
from bessemer.kinds import meta
from bessemer.kinds.configmap import CONFIG_MAP
from bessemer.kube.client import Client
from bessemer.kube.informer import Informers


def test_keys_are_spread_over_the_period_and_keep_their_moment() -> None:
    keys = [Key("n", f"map-{number}") for number in range(1000)]

    looks = spread([*keys, *keys], 50.0)
    again = spread(keys[::-1], 50.0)

    moments = [moment for moment, _ in looks]
    assert moments == sorted(moments)
    assert 0 <= moments[0] < moments[-1] < 50
    assert sorted(key for _, due in looks for key in due) == sorted(keys)
    assert max(len(due) for _, due in looks) < 50
    assert [(moment, set(due)) for moment, due in looks] == [
        (moment, set(due)) for moment, due in again
    ]


class Counting:
    """How often each key was reconciled."""

    def __init__(self) -> None:
        self.seen: dict[Key, int] = {}

    async def reconcile(self, key: Key) -> Result:
        self.seen[key] = self.seen.get(key, 0) + 1
        return DONE


async def test_each_object_is_looked_at_once_a_period_though_nothing_changes(
    client: Client, clock: Any
) -> None:
    keys = [Key("default", name) for name in ("a", "b", "c")]
    for key in keys:
        await client.create(CONFIG_MAP, meta.new(CONFIG_MAP, key.name, key.namespace))
    informers, reconciler = Informers(client, clock), Counting()
    source = Source(informers.of(CONFIG_MAP), own_key)
    controller = Controller("x", reconciler, [source], clock, resync=100.0)
    async with asyncio.timeout(30):
        watching = asyncio.create_task(informers.run())
        await source.informer.wait_synced()
        running = asyncio.create_task(controller.run())
        await clock.advance(99)
        assert reconciler.seen == dict.fromkeys(keys, 1)
        for second in range(1, 302):
            await clock.advance(1)
            if second % 100 == 0:
                assert reconciler.seen == dict.fromkeys(keys, 1 + second // 100)
        for task in (running, watching):
            task.cancel()
        await asyncio.gather(running, watching, return_exceptions=True)
