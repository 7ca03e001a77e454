"""A run has one owner, and nobody else's writes count."""

import asyncio
from dataclasses import replace

import pytest

from bessemer.pipelines.errors import LeaseLost
from bessemer.pipelines.records import Lease, RunState, StateChange, Unfinished
from bessemer.pipelines.retrying import Reset

from .conftest import NOW, World, make_run
from .test_laws import MODEL, make_task


async def seen(world: World) -> dict[str, Unfinished]:
    return {run.id: run for run in await world.history.list_unfinished()}


async def test_a_run_is_its_maker_s_or_whoever_s_takes_it_first(world: World) -> None:
    await world.create(make_run("mine", lease=Lease("a")))
    await world.create(make_run("free"))

    found = await seen(world)
    assert {run.lease for run in found.values()} == {Lease("a"), Lease()}
    takes = [world.history.take(one, [found["free"]], {}) for one in ("a", "b", "c", "d")]
    taken = await asyncio.gather(*takes)

    assert sorted(map(len, taken)) == [0, 0, 0, 1]
    winner = "abcd"[[bool(one) for one in taken].index(True)]
    assert (await seen(world))["free"].lease == Lease(winner, 1)


async def test_an_old_owner_s_save_is_refused_and_stores_nothing(world: World) -> None:
    run = make_run("r1", lease=Lease("a"))
    await world.create(run)
    await world.history.save(
        replace(run, state=RunState.RUNNING), [make_task("t1")], [], run.lease
    )
    await world.history.take("b", list((await seen(world)).values()), {"a": 0})
    before = await world.history.load_run("r1")

    for lease in (run.lease, Lease(), Lease("b"), Lease("b", 2)):
        failed = replace(run, state=RunState.FAILED, finished_at=NOW, error="old")
        with pytest.raises(LeaseLost, match=r"'b' \(generation 1\)"):
            await world.history.save(failed, [make_task("t1"), make_task("t2")], [MODEL], lease)
        with pytest.raises(LeaseLost, match="must take the run again"):
            await world.history.save(None, [make_task("t3")], [], lease)

    assert await world.history.load_run("r1") == before
    assert before is not None
    await world.history.save(replace(run, state=RunState.SUCCEEDED), [], [], Lease("b", 1))


async def test_a_refused_save_takes_none_of_those_beside_it_along(world: World) -> None:
    """Saves that wait together share a commit."""
    old, new = make_run("old", lease=Lease("a")), make_run("new", lease=Lease("b"))
    await world.create(old)
    await world.create(new)

    saves = [
        world.history.save(None, [make_task(f"{run.id}{n}", run.id)], [], Lease("b"))
        for n in range(20)
        for run in (old, new)
    ]
    results = await asyncio.gather(*saves, return_exceptions=True)

    assert [type(result) for result in results] == [LeaseLost, type(None)] * 20
    found = [await world.history.load_run(id_) for id_ in ("old", "new")]
    assert [len(loaded[1]) for loaded in found if loaded] == [0, 20]


async def test_a_living_replica_keeps_its_runs(world: World) -> None:
    await world.create(make_run("r1", lease=Lease("a")))
    assert not await world.history.beat("a")  # it is new
    found = list((await seen(world)).values())
    counts = await world.history.beats()
    assert await world.history.beat("a")

    assert await world.history.take("b", found, counts) == set()
    assert await world.history.take("b", found, {"a": 0}) == set()

    assert (await seen(world))["r1"].lease == Lease("a")


async def test_of_a_dead_replica_one_gets_all_and_it_is_told_when_it_comes_back(
    world: World,
) -> None:
    for name in ("r1", "r2"):
        await world.create(make_run(name, lease=Lease("a")))
    await world.create(make_run("ended", lease=Lease("a")))
    await world.history.save(make_run("ended", state=RunState.FAILED), lease=Lease("a"))
    await world.history.beat("a")
    dead, found = await world.history.beats(), list((await seen(world)).values())
    assert dead == {"a": 1}

    first = await world.history.take("b", found, dead)
    second = await world.history.take("c", found, dead)

    assert (first, second) == ({"r1", "r2"}, set())
    assert not await world.history.beat("a")
    assert {run.lease for run in (await seen(world)).values()} == {Lease("b", 1)}


async def test_who_is_alone_asks_no_counts(world: World) -> None:
    await world.create(make_run("r1", lease=Lease("a", 7)))
    await world.history.beat("a")

    taken = await world.history.take("b", list((await seen(world)).values()), None)

    assert taken == {"r1"}
    assert (await seen(world))["r1"].lease == Lease("b", 8)


async def test_what_is_let_go_of_is_free_at_once(world: World) -> None:
    run = make_run("r1", lease=Lease("a"))
    await world.create(run)
    await world.create(make_run("r2", lease=Lease("b")))
    await world.history.beat("a")

    await world.history.release("a")

    found = await seen(world)
    assert (found["r1"].lease, found["r2"].lease) == (Lease(), Lease("b"))
    assert await world.history.beats() == {}
    with pytest.raises(LeaseLost):
        await world.history.save(None, [make_task("t1")], [], run.lease)


async def test_a_retried_run_is_another_generation(world: World) -> None:
    """Who drove it until it failed may not know yet."""
    run = make_run("r1", lease=Lease("a"))
    await world.create(run)
    ended = replace(
        run, state=RunState.FAILED, finished_at=NOW, history=(StateChange("FAILED", NOW),)
    )
    await world.history.save(ended, [], [], run.lease)

    await world.retry(ended, Reset((), ()))

    assert (await seen(world))["r1"].lease == Lease("", 1)
    with pytest.raises(LeaseLost):
        await world.history.save(ended, [], [], run.lease)


async def test_a_run_that_changed_hands_since_it_was_seen_stays_where_it_is(world: World) -> None:
    await world.create(make_run("r1"))
    found = list((await seen(world)).values())
    await world.history.take("a", found, {})
    await world.history.release("a")

    assert await world.history.take("b", found, {}) == set()
    assert await world.history.take("b", list((await seen(world)).values()), {}) == {"r1"}
