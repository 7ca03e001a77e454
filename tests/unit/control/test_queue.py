"""The queue: once each, never twice at once, later and later for failures."""

import asyncio
import random
from typing import Any

import pytest

from bessemer.control.queue import Queue, backoff_seconds
from bessemer.control.reconcile import Key

A, B = Key("x", "a"), Key("x", "b")


async def test_a_key_added_many_times_comes_once(clock: Any) -> None:
    queue = Queue(clock)
    for key in (A, B, A, A):
        queue.add(key)
    assert [await queue.get(), await queue.get()] == [A, B]
    assert len(queue) == 0


async def test_a_key_added_while_worked_on_comes_again_after_done(clock: Any) -> None:
    queue = Queue(clock)
    queue.add(A)
    assert await queue.get() == A
    queue.add(A)
    queue.add(A)
    assert len(queue) == 0
    queue.done(A)
    assert len(queue) == 1
    assert await queue.get() == A
    queue.done(A)
    assert len(queue) == 0


async def test_failures_wait_longer_each_time_until_forgotten(clock: Any) -> None:
    queue = Queue(clock)
    assert [queue.add_failed(A) for _ in range(4)] == [0.005, 0.01, 0.02, 0.04]
    queue.forget(A)
    assert queue.add_failed(A) == 0.005
    assert backoff_seconds(100) == 60.0
    queue.close()


async def test_of_several_waits_the_shortest_holds(clock: Any) -> None:
    queue = Queue(clock)
    queue.add_after(A, 5)
    queue.add_after(A, 2)
    queue.add_after(A, 9)
    await clock.advance(1.9)
    assert len(queue) == 0
    await clock.advance(0.1)
    assert len(queue) == 1
    assert await queue.get() == A
    queue.done(A)
    await clock.advance(60)
    assert len(queue) == 0


async def test_a_wait_that_is_taken_back_never_ends(clock: Any) -> None:
    queue = Queue(clock)
    queue.add_after(A, 5)
    queue.cancel_wait(A)
    queue.cancel_wait(B)
    await clock.advance(60)
    assert len(queue) == 0


async def test_a_worker_that_is_cancelled_while_it_waits_loses_no_key(clock: Any) -> None:
    queue = Queue(clock)
    first, second = (asyncio.create_task(queue.get()) for _ in range(2))
    await asyncio.sleep(0)
    queue.add(A)
    first.cancel()
    async with asyncio.timeout(5):
        assert await second == A
    with pytest.raises(asyncio.CancelledError):
        await first


@pytest.mark.parametrize("seed", range(5))
async def test_no_key_is_ever_worked_on_twice_at_once_nor_forgotten(clock: Any, seed: int) -> None:
    choose = random.Random(seed)
    queue = Queue(clock)
    keys = [Key("", f"k{number}") for number in range(5)]
    wanted = dict.fromkeys(keys, 0)
    seen = dict.fromkeys(keys, 0)
    busy: set[Key] = set()
    idle = asyncio.Event()

    async def work() -> None:
        while True:
            key = await queue.get()
            assert key not in busy
            busy.add(key)
            seen[key] = wanted[key]
            for _ in range(choose.randrange(4)):
                await asyncio.sleep(0)
            busy.remove(key)
            queue.done(key)
            if not len(queue) and not busy:
                idle.set()

    workers = [asyncio.create_task(work()) for _ in range(3)]
    for _ in range(500):
        key = choose.choice(keys)
        wanted[key] += 1
        queue.add(key)
        idle.clear()
        if choose.random() < 0.5:
            await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await idle.wait()
    for worker in workers:
        worker.cancel()
    results = await asyncio.gather(*workers, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results), results
    assert seen == wanted
