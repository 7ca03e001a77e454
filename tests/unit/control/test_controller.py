"""A controller from a change to a reconcile, and through its failures."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bessemer.control.controller import Controller
from bessemer.control.reconcile import DONE, Key, Result, TerminalError
from bessemer.control.sources import Source, own_key, owner_key
from bessemer.kinds import meta
from bessemer.kinds.configmap import CONFIG_MAP
from bessemer.kinds.deployment import DEPLOYMENT
from bessemer.kinds.job import JOB
from bessemer.kinds.kind import Object
from bessemer.kinds.pod import POD
from bessemer.kube.client import Client
from bessemer.kube.errors import not_found
from bessemer.kube.informer import Informers


class Recorder:
    """Answers each key as planned and keeps what it was asked."""

    def __init__(self, *answers: Result | Exception) -> None:
        self.answers = list(answers)
        self.keys: asyncio.Queue[Key] = asyncio.Queue()
        self.count = 0

    async def reconcile(self, key: Key) -> Result:
        self.count += 1
        self.keys.put_nowait(key)
        answer = self.answers.pop(0) if self.answers else DONE
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def next(self) -> Key:
        async with asyncio.timeout(10):
            return await self.keys.get()


@contextlib.asynccontextmanager
async def running(*things: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(thing.run()) for thing in things]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results), results


def make_pod(name: str, owner: Object | None = None) -> Object:
    owners = [meta.owner_reference(owner)] if owner else []
    return meta.new(POD, name, "default", owners=owners)


async def test_changes_of_an_object_and_of_what_it_owns_wake_its_key(
    client: Client, clock: Any
) -> None:
    job = await client.create(JOB, meta.new(JOB, "train", "default"))
    informers, reconciler = Informers(client, clock), Recorder()
    sources = [
        Source(informers.of(JOB), own_key),
        Source(informers.of(POD), owner_key(JOB)),
    ]
    async with running(informers, Controller("job", reconciler, sources, clock)):
        assert await reconciler.next() == Key("default", "train")
        await client.create(POD, make_pod("alone"))
        await client.create(POD, make_pod("step", job))
        assert await reconciler.next() == Key("default", "train")
    assert reconciler.keys.empty()


def test_owners_of_another_kind_wake_nobody() -> None:
    owner = {**meta.new(DEPLOYMENT, "d", "default"), "apiVersion": "apps/v1"}
    owner["metadata"]["uid"] = "u"
    pod = make_pod("a", owner)
    assert list(owner_key(DEPLOYMENT)(pod)) == [Key("default", "d")]
    assert list(owner_key(JOB)(pod)) == []
    assert list(owner_key(DEPLOYMENT)(make_pod("b"))) == []


async def test_a_failed_key_comes_again_after_its_back_off(
    clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    reconciler = Recorder(ValueError("first"), ValueError("second"))
    controller = Controller("x", reconciler, [], clock)
    async with running(controller):
        controller.enqueue(Key("", "a"))
        await reconciler.next()
        await clock.advance(0)
        assert clock.waits == [0.005]
        await clock.advance(0.005)
        await reconciler.next()
        await clock.advance(0)
        assert clock.waits == [0.01]
        await clock.advance(0.01)
        await reconciler.next()
        await clock.advance(60)
    assert reconciler.count == 3
    assert [record.message for record in caplog.records] == ["reconcile failed"] * 2


async def test_what_is_gone_meanwhile_is_no_failure_unless_it_stays_gone(
    clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    gone = not_found(JOB, "a")
    reconciler = Recorder(*[gone] * 9)
    controller = Controller("x", reconciler, [], clock)
    async with running(controller):
        controller.enqueue(Key("", "a"))
        for wait in (0.005 * 2**failures for failures in range(8)):
            await clock.advance(0)
            await clock.advance(wait)
        assert reconciler.count == 9
        assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert caplog.records[0].message == "reconcile failed"


async def test_a_terminal_error_waits_for_the_next_change(
    clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    reconciler = Recorder(TerminalError("spec.x is wrong"))
    controller = Controller("x", reconciler, [], clock)
    with caplog.at_level(logging.WARNING):
        async with running(controller):
            controller.enqueue(Key("", "a"))
            await reconciler.next()
            await clock.advance(3600)
            assert reconciler.count == 1
            controller.enqueue(Key("", "a"))
            await reconciler.next()
    assert [record.message for record in caplog.records] == ["reconcile gave up"]


async def test_requeue_after_comes_again_in_time(clock: Any) -> None:
    reconciler = Recorder(Result(requeue_after=30))
    controller = Controller("x", reconciler, [], clock)
    async with running(controller):
        controller.enqueue(Key("", "a"))
        await reconciler.next()
        await clock.advance(29)
        assert reconciler.count == 1
        await clock.advance(1)
        assert await reconciler.next() == Key("", "a")


async def test_a_slow_key_does_not_hold_up_the_others_with_two_workers(clock: Any) -> None:
    go_on = asyncio.Event()
    done: asyncio.Queue[Key] = asyncio.Queue()

    class Slow:
        async def reconcile(self, key: Key) -> Result:
            if key.name == "slow":
                await go_on.wait()
            done.put_nowait(key)
            return DONE

    controller = Controller("x", Slow(), [], clock, workers=2)
    async with running(controller), asyncio.timeout(10):
        controller.enqueue(Key("", "slow"))
        controller.enqueue(Key("", "quick"))
        assert (await done.get()).name == "quick"
        go_on.set()
        assert (await done.get()).name == "slow"


async def test_nothing_is_reconciled_before_every_source_knows_its_state(
    client: Client, clock: Any
) -> None:
    await client.create(CONFIG_MAP, meta.new(CONFIG_MAP, "a", "default"))
    informers, reconciler = Informers(client, clock), Recorder()
    pods = informers.of(POD)

    class Checking(Recorder):
        async def reconcile(self, key: Key) -> Result:
            assert pods.synced
            return await super().reconcile(key)

    reconciler = Checking()
    sources = [Source(informers.of(CONFIG_MAP), own_key), Source(pods, own_key)]
    controller = Controller("x", reconciler, sources, clock)
    controller.enqueue(Key("", "early"))
    async with running(controller):
        await clock.advance(10)
        assert reconciler.count == 0
        async with running(informers):
            assert {await reconciler.next(), await reconciler.next()} == {
                Key("", "early"),
                Key("default", "a"),
            }


async def test_it_ends_when_cancelled_even_if_a_reconcile_makes_an_error_of_that(
    clock: Any,
) -> None:
    begun = asyncio.Event()

    class Failing:
        async def reconcile(self, key: Key) -> Result:
            begun.set()
            try:
                return await asyncio.get_running_loop().create_future()
            finally:
                raise ValueError("the database was closed meanwhile")

    controller = Controller("x", Failing(), [], clock)
    controller.enqueue(Key("", "a"))
    task = asyncio.create_task(controller.run())
    await begun.wait()
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=30)

    assert done == {task}
    assert task.cancelled()
