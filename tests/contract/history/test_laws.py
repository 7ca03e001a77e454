"""The laws of ``records.History``."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from bessemer.pipelines.records import (
    Artifact,
    RunState,
    StateChange,
    Task,
    TaskKind,
    TaskState,
    Values,
)
from bessemer.pipelines.retrying import Reset
from bessemer.web.errors import Aborted, FailedPrecondition

from .conftest import NOW, World, make_run


def make_task(id_: str, run_id: str = "r1", **fields: object) -> Task:
    values: dict[str, object] = {
        "parent_id": "",
        "name": id_,
        "iteration": -1,
        "kind": TaskKind.CONTAINER,
        "state": TaskState.SUCCEEDED,
        "created_at": NOW,
        **fields,
    }
    return Task(id=id_, run_id=run_id, **values)  # type: ignore[arg-type]  # test data


MODEL = Artifact("a1", "model", "system.Model", "0.0.1", "/v/model", {"depth": 3, "ok": True})


async def test_load_gives_back_what_was_created_and_saved(world: World) -> None:
    run = make_run("r1", description="d", history=(StateChange("PENDING", NOW),))
    task = make_task(
        "t1",
        started_at=NOW + timedelta(seconds=1),
        finished_at=NOW + timedelta(seconds=2, microseconds=7),
        inputs=Values({"n": 2.0, "s": "é", "big": {"k": [1, None]}}),
        outputs=Values({"out": True}, {"model": ["a1"]}),
        fingerprint="f",
        history=(StateChange("RUNNING", NOW), StateChange("SUCCEEDED", NOW, "none")),
    )
    await world.create(run)

    await world.history.save(replace(run, state=RunState.RUNNING), [task], [MODEL])

    assert await world.history.load_run("r1") == (
        replace(run, state=RunState.RUNNING),
        [task],
        [MODEL],
    )
    assert await world.history.load_run("nobody") is None


async def test_what_save_returned_from_is_there_for_another_process(world: World) -> None:
    await world.create(make_run("r1"))
    await world.history.save(None, [make_task("t1")], [])

    other = await world.reopen()
    found = await other.load_run("r1")

    assert found is not None
    assert [task.id for task in found[1]] == ["t1"]


async def test_tasks_and_artifacts_are_replaced_by_id(world: World) -> None:
    await world.create(make_run("r1"))
    task = make_task("t1", state=TaskState.RUNNING, outputs=Values({}, {"model": ["a1"]}))
    await world.history.save(None, [task], [MODEL])

    ended = replace(task, state=TaskState.SUCCEEDED, attempt=2)
    better = replace(MODEL, uri="/elsewhere", metadata={})
    await world.history.save(None, [ended], [better])

    found = await world.history.load_run("r1")
    assert found is not None
    assert found[1:] == ([ended], [better])


async def test_unfinished_runs_oldest_first(world: World) -> None:
    for number, state in enumerate(RunState):
        created = NOW - timedelta(seconds=number)
        run = make_run(f"r{number}", created_at=created)
        await world.create(run)
        await world.history.save(replace(run, state=state))

    unfinished = await world.history.list_unfinished()

    states = list(RunState)
    wanted = [RunState.CANCELING, RunState.RUNNING, RunState.PENDING]
    assert [run.id for run in unfinished] == [f"r{states.index(state)}" for state in wanted]
    assert [run.state for run in unfinished] == wanted


@pytest.mark.parametrize("state", [RunState.SUCCEEDED, RunState.FAILED])
async def test_an_ended_run_stays_ended(world: World, state: RunState) -> None:
    run = make_run("r1")
    await world.create(run)
    await world.history.save(replace(run, state=state, finished_at=NOW, error="why"))

    await world.history.save(replace(run, state=RunState.RUNNING))

    found = await world.history.load_run("r1")
    assert found is not None
    assert (found[0].state, found[0].finished_at, found[0].error) == (state, NOW, "why")
    with pytest.raises(FailedPrecondition, match=str(state)):
        await world.terminate("r1")


async def test_a_save_that_did_not_see_the_termination_does_not_undo_it(world: World) -> None:
    run = make_run("r1", history=(StateChange("PENDING", NOW),))
    await world.create(run)
    await world.terminate("r1")

    running = StateChange("RUNNING", NOW + timedelta(seconds=1))
    stale = replace(run, state=RunState.RUNNING, history=(*run.history, running))
    await world.history.save(stale)

    found = await world.history.load_run("r1")
    assert found is not None
    assert found[0].state == RunState.CANCELING
    assert {change.state for change in found[0].history} == {"PENDING", "RUNNING", "CANCELING"}
    await world.history.save(replace(stale, state=RunState.FAILED, finished_at=NOW))
    assert await world.history.list_unfinished() == []


async def test_changes_of_one_moment_stay_in_their_order(world: World) -> None:
    """A run whose tasks are all cached starts and ends within one plan."""
    states = [RunState.PENDING, RunState.RUNNING, RunState.SUCCEEDED]
    for number in range(10):
        at = NOW + timedelta(microseconds=number)
        changes = tuple(StateChange(state, at) for state in states)
        run = make_run(f"r{number}", history=changes[:1])
        await world.create(run)
        await world.history.save(
            replace(run, state=RunState.SUCCEEDED, finished_at=NOW, history=changes)
        )

        found = await world.history.load_run(run.id)
        assert found is not None
        assert [change.state for change in found[0].history] == states


async def test_retry_stores_the_reset_rows_and_only_of_a_failed_run_as_it_was_read(
    world: World,
) -> None:
    run = make_run("r1")
    await world.create(run)
    bad = make_task("bad", parent_id="root", state=TaskState.FAILED, pod_name="p", error="e")
    tasks = [make_task("good"), bad, make_task("later", state=TaskState.SKIPPED)]
    change = StateChange(RunState.FAILED, NOW, "e")
    ended = replace(
        run, state=RunState.FAILED, finished_at=NOW, error="e", history=(*run.history, change)
    )
    await world.history.save(ended, tasks)
    reset = Reset(
        (replace(bad, state=TaskState.PENDING, attempt=1, pod_name="", error=""),), ("later",)
    )

    with pytest.raises(Aborted, match="changed just now"):
        await world.retry(run, reset)
    await world.retry(ended, reset)

    found = await world.history.load_run("r1")
    assert found is not None
    assert (found[0].state, found[0].error, found[0].finished_at) == (RunState.RUNNING, "", None)
    assert [state.state for state in found[0].history] == ["FAILED", "RUNNING"]
    by_id = {task.id: task for task in found[1]}
    assert by_id == {"good": tasks[0], "bad": reset.changed[0]}
    with pytest.raises(Aborted, match="RUNNING"):
        await world.retry(found[0], reset)


async def test_a_deleted_run_is_gone_and_late_saves_leave_nothing(world: World) -> None:
    run = make_run("r1")
    await world.create(run)
    task = make_task("t1", fingerprint="f", outputs=Values({}, {"model": ["a1"]}))
    await world.history.save(run, [task], [MODEL])

    await world.delete("r1")
    await world.history.save(replace(run, state=RunState.RUNNING), [task], [MODEL])

    assert await world.history.load_run("r1") is None
    assert await world.history.find_cached("kubeflow", "adder", "f") is None
    assert await world.history.find_artifact("kubeflow", MODEL.uri, MODEL.type, {}) is None


async def test_cache_finds_the_newest_success_of_the_same_pipeline_and_namespace(
    world: World,
) -> None:
    await world.create(make_run("r1"))
    await world.create(make_run("r2"))
    await world.create(make_run("other", namespace="team-b"))
    made = Values({"out": 1}, {"model": ["a1"]})
    old = make_task("old", fingerprint="f", finished_at=NOW, outputs=made)
    new = make_task(
        "new", "r2", fingerprint="f", finished_at=NOW + timedelta(seconds=1), outputs=made
    )
    failed = make_task("bad", fingerprint="g", state=TaskState.FAILED)
    cached = make_task("hit", fingerprint="h", state=TaskState.CACHED)
    await world.history.save(None, [old, failed, cached], [MODEL])
    await world.history.save(None, [new], [])

    find = world.history.find_cached
    assert await find("kubeflow", "adder", "f") == (new, [MODEL])
    assert await find("team-b", "adder", "f") is None
    assert await find("kubeflow", "another", "f") is None
    assert await find("kubeflow", "adder", "g") is None
    assert await find("kubeflow", "adder", "h") is None
    assert await find("kubeflow", "adder", "") is None


async def test_artifacts_of_a_cached_task_come_with_the_run_that_used_them(world: World) -> None:
    await world.create(make_run("r1"))
    await world.create(make_run("r2"))
    made = Values({}, {"model": ["a1"]})
    await world.history.save(None, [make_task("t1", outputs=made)], [MODEL])
    hit = make_task("t2", "r2", state=TaskState.CACHED, outputs=made)
    await world.history.save(None, [hit], [])

    await world.delete("r1")

    found = await world.history.load_run("r2")
    assert found is not None
    assert found[2] == [MODEL]
    await world.delete("r2")
    found_again = await world.history.find_artifact(
        "kubeflow", MODEL.uri, MODEL.type, MODEL.metadata
    )
    assert found_again is None  # the last run that named it took it along


async def test_an_imported_artifact_is_found_by_all_it_is(world: World) -> None:
    await world.create(make_run("r1"))
    task = make_task("t1", kind=TaskKind.IMPORTER, outputs=Values({}, {"artifact": ["a1"]}))
    await world.history.save(None, [task], [MODEL])

    async def find(**changed: object) -> Artifact | None:
        wanted = {"namespace": "kubeflow", "uri": MODEL.uri, "type_": MODEL.type}
        metadata = changed.pop("metadata", MODEL.metadata)
        return await world.history.find_artifact(**{**wanted, **changed}, metadata=metadata)  # type: ignore[arg-type]  # test data

    assert await find() == MODEL
    assert await find(namespace="team-b") is None
    assert await find(uri="/other") is None
    assert await find(type_="system.Dataset") is None
    assert await find(metadata={"depth": 4}) is None


async def test_many_saves_at_once_all_arrive(world: World) -> None:
    await world.create(make_run("r1"))

    await asyncio.gather(*(world.history.save(None, [make_task(f"t{n}")]) for n in range(300)))

    found = await world.history.load_run("r1")
    assert found is not None
    assert len(found[1]) == 300
