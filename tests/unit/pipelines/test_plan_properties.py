"""Laws that hold for every pipeline: hypothesis makes the pipelines, the order and the crashes."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.pipelines import spec, tree
from bessemer.pipelines.records import RunState, Task, TaskKind
from pipelines_ir import constant, dag, output, pipeline, step, task
from pipelines_ir import given as dag_input
from pipelines_world import World, timeless

STEP = step(
    {
        "x": {"parameterType": "NUMBER_INTEGER", "defaultValue": 0},
        "list": {"parameterType": "LIST", "isOptional": True},
        "status": {"parameterType": "TASK_FINAL_STATUS", "isOptional": True},
    },
    {"Output": "NUMBER_INTEGER"},
)
Json = dict[str, Any]


@st.composite
def tasks_of(draw: st.DrawFn, depth: int, components: Json) -> Json:
    """The tasks of a DAG with input ``x``; components that they need are added."""
    tasks: Json = {}
    for index in range(draw(st.integers(1, 4))):
        name = f"t{index}"
        before = (
            draw(st.lists(st.sampled_from(sorted(tasks)), unique=True, max_size=3))
            if tasks
            else []
        )
        kind = draw(st.sampled_from(["step", "step", "dag", "loop"] if depth else ["step"]))
        more: Json = {"after": before, "always": draw(st.integers(0, 5)) == 0}
        if draw(st.integers(0, 4)) == 0:
            sign = draw(st.sampled_from(["==", "<", ">="]))
            more["condition"] = f"inputs.parameter_values['x'] {sign} 2"
        if draw(st.integers(0, 3)) == 0:
            more["retryPolicy"] = {"maxRetryCount": 2, "backoffDuration": "5s"}
        parameters: Json = {"x": draw(x_source(before, tasks))}
        if kind == "step":
            more["cached"] = draw(st.booleans())
            if draw(st.booleans()) and before:
                more["always"] = True
                parameters["status"] = {"taskFinalStatus": {"producerTask": before[0]}}
            tasks[name] = task("step", parameters=parameters, **more)
            continue
        inner = draw(tasks_of(depth - 1, components))
        component = f"c{len(components)}"
        first = sorted(inner)[0]
        components[component] = dag(
            inner, {"x": "NUMBER_INTEGER"}, {"Output": ("NUMBER_INTEGER", [(first, "Output")])}
        )
        if kind == "loop":
            del parameters["x"]
            items = draw(st.lists(st.integers(0, 4), max_size=3))
            more["parameterIterator"] = {"itemInput": "x", "items": {"raw": str(items)}}
            if draw(st.booleans()):
                more["iteratorPolicy"] = {"parallelismLimit": draw(st.integers(1, 2))}
            more.pop("condition", None)
        tasks[name] = task(component, parameters=parameters, **more)
    return tasks


def x_source(before: list[str], tasks: Json) -> st.SearchStrategy[Json]:
    producers = [n for n in before if tasks[n]["componentRef"]["name"] == "step"]
    sources = [st.integers(0, 4).map(constant), st.just(dag_input("x"))]
    return st.one_of(*sources, *(st.just(output(name)) for name in producers))


@st.composite
def pipelines(draw: st.DrawFn) -> Json:
    components: Json = {"step": STEP}
    tasks = draw(tasks_of(2, components))
    return pipeline(
        tasks, components, {"x": {"parameterType": "NUMBER_INTEGER", "defaultValue": 1}}
    )


def behave(task_: Task, executor_input: Json) -> Json | str:
    """Some steps fail always, some on their first attempt: chosen by their id alone."""
    digit = hashlib.sha256(task_.id.encode()).digest()[0] % 8
    if digit == 0 or (digit == 1 and task_.attempt == 0):
        return f"exit code {digit + 1}"
    x = executor_input["inputs"]["parameterValues"]["x"]
    return {"parameterValues": {"Output": (x + 1) % 5}}


def outcome(world: World) -> Json:
    return {
        "run": (world.run.state, world.run.error),
        "rows": {id_: timeless(row) for id_, row in world.rows.items()},
    }


def check_order(world: World) -> None:
    """Every row that has an end began after all that it waits for had ended."""
    by_place = {(row.parent_id, row.name): row for row in world.rows.values() if row.iteration < 0}
    dags = {"root": world.spec.root, **world.spec.components}
    for row in world.rows.values():
        if not row.parent_id or row.iteration >= 0:
            continue
        component = component_of(world, world.rows[row.parent_id], dags)
        for name in component.body.tasks[row.name].depends:
            needed = by_place[row.parent_id, name]
            assert needed.state in tree.FINAL
            if row.started_at is not None:
                assert needed.finished_at is not None
                assert needed.finished_at <= row.started_at


def component_of(world: World, row: Task, components: Json) -> Any:
    if not row.parent_id:
        return components["root"]
    parent = world.rows[row.parent_id]
    if row.iteration >= 0:
        return component_of(world, parent, components)
    outer = component_of(world, parent, components)
    return components[outer.body.tasks[row.name].component]


PROPERTY = settings(max_examples=150)
LONG = settings(max_examples=3000)


def check_laws(ir: Json, data: st.DataObject) -> None:
    loaded = spec.load(ir)

    def choose(pods: list[str]) -> str:
        return data.draw(st.sampled_from(pods))

    world = World(loaded, behave).go(choose)

    assert world.run.state in (RunState.SUCCEEDED, RunState.FAILED)
    assert all(row.state in tree.FINAL for row in world.rows.values())
    assert len(world.created) == len(set(world.created))
    failed = [r for r in world.rows.values() if r.state == "FAILED"]
    assert (world.run.state is RunState.FAILED) == bool(failed)
    check_order(world)

    crash_at = data.draw(st.integers(1, world.done))
    crashed = World(loaded, behave, crash_at=crash_at).go()
    again = World(loaded, behave).go()

    assert outcome(crashed) == outcome(again)
    assert sorted(crashed.created) == sorted(again.created)


@PROPERTY
@given(pipelines(), st.data())
def test_every_run_ends_in_order_and_a_crash_changes_nothing(
    ir: Json, data: st.DataObject
) -> None:
    check_laws(ir, data)


@pytest.mark.long
@pytest.mark.timeout(600)
@LONG
@given(pipelines(), st.data())
def test_the_laws_hold_for_thousands(ir: Json, data: st.DataObject) -> None:
    check_laws(ir, data)


@PROPERTY
@given(pipelines(), st.data())
def test_a_terminated_run_always_ends_failed(ir: Json, data: st.DataObject) -> None:
    world = World(spec.load(ir), behave).start()
    for _ in range(data.draw(st.integers(0, 5))):
        world.step()
    was_over = world.plan.ended
    world.terminate()

    if not was_over:
        assert world.run.state is RunState.FAILED
        assert world.run.error == "the run was terminated"
        assert all(row.state in tree.FINAL for row in world.rows.values())
        assert all(
            row.pod_name in world.deleted
            for row in world.rows.values()
            if row.state == "CANCELED" and row.kind is TaskKind.CONTAINER and row.pod_name
            if not world.pods[row.pod_name].error and row.retry_at is None
        )


@pytest.mark.parametrize("length", [20, 200])
def test_a_chain_costs_the_same_a_step_however_long(length: int) -> None:
    tasks = {
        f"t{n}": task("step", parameters={"x": output(f"t{n - 1}") if n else constant(1)})
        for n in range(length)
    }
    world = World(
        spec.load(pipeline(tasks, {"step": STEP})), lambda *_: {"parameterValues": {"Output": 1}}
    )
    world.go()

    assert world.run.state is RunState.SUCCEEDED
    # A save and a pod a step, and the run's first and last save.
    assert world.done == 2 * length + 1


def test_a_chain_of_skipped_tasks_is_never_too_deep() -> None:
    tasks = {
        f"t{n}": task(
            "step", after=[f"t{n - 1}"] if n else [], condition="false" if n == 0 else None
        )
        for n in range(5000)
    }
    world = World(spec.load(pipeline(tasks, {"step": STEP})), behave).go()

    assert world.run.state is RunState.SUCCEEDED
    assert sum(row.state == "SKIPPED" for row in world.rows.values()) == 5000
