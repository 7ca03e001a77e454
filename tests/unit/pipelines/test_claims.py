"""CreatePVC and DeletePVC: what they make, what they refuse, and that a crash repeats neither."""

from __future__ import annotations

from typing import Any

import pytest

from bessemer.pipelines import claims, spec
from bessemer.pipelines.records import RunState
from pipelines_ir import constant, output, pipeline, step, task
from pipelines_world import World

STUBS = {
    "create": {"container": {"image": "argostub/createpvc"}},
    "delete": {"container": {"image": "argostub/deletepvc"}},
}
OPTIONAL = {"parameterType": "STRING", "isOptional": True}
STRUCT = {"parameterType": "STRUCT", "isOptional": True}
COMPONENTS = {
    "create": step(
        {
            "access_modes": "LIST", "size": "STRING", "pvc_name": OPTIONAL,
            "pvc_name_suffix": OPTIONAL, "annotations": STRUCT,
            "storage_class_name": {**OPTIONAL, "defaultValue": ""},
        },
        {"name": "STRING"},
        executor="create",
    ),
    "delete": step({"pvc_name": "STRING"}, executor="delete"),
    "use": step(),
}  # fmt: skip
MODES = {"access_modes": constant(["ReadWriteOnce"]), "size": constant("1Gi")}


def create(**more: Any) -> Any:
    given = {name: constant(value) for name, value in more.items()}
    return task("create", parameters={**MODES, **given}, cached=True)


def world(tasks: Any, **more: Any) -> World:
    return World(spec.load(pipeline(tasks, COMPONENTS, executors=STUBS)), **more)


LIFE = {
    "make": create(pvc_name_suffix="-work"),
    "use": task("use", after=["make"]),
    "end": task("delete", parameters={"pvc_name": output("make", "name")}, after=["use"]),
}


@pytest.mark.parametrize("crash_at", [-1, *range(1, 12)])
def test_a_claim_lives_as_long_as_its_pipeline_says_over_any_crash(crash_at: int) -> None:
    it = world(LIFE, crash_at=crash_at).go()

    assert it.run.state is RunState.SUCCEEDED, it.run.error
    assert it.row("make").outputs.parameters["name"].endswith("-work")
    assert it.claims == {}
    assert len(it.created) == 1
    assert it.asked == []  # never taken from the cache


def test_a_claim_is_as_asked() -> None:
    it = world({"make": create(pvc_name="mine", annotations={"a": "b", "n": 1})}).go()
    claim = it.claims["mine"]

    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "",
    }
    notes = claim["metadata"]["annotations"]
    assert notes == {"a": "b", "n": "1", claims.TASK_ANNOTATION: it.row("make").id}


@pytest.mark.parametrize(
    ("tasks", "why"),
    [
        ({"x": create(pvc_name="a", pvc_name_suffix="-b")}, "at most one of pvc_name and"),
        ({"x": task("delete", parameters={"pvc_name": constant("none")})}, "none not found"),
        ({"x": task("delete", parameters={"pvc_name": constant("pipeline-artifacts")})},
         "other than 'pipeline-artifacts'"),
        ({"a": create(pvc_name="one"), "x": {**create(pvc_name="one"), "dependentTasks": ["a"]}},
         "one already exists"),
    ],
)  # fmt: skip
def test_what_cant_be_done_fails_by_name(tasks: Any, why: str) -> None:
    it = world(tasks).go()

    assert it.run.state is RunState.FAILED
    assert why in it.row("x").error


def test_a_retry_makes_the_claim_of_a_step_that_failed_no_second_time() -> None:
    fails = ["exit code 1"]
    it = world(LIFE, behaviour=lambda *_: fails.pop() if fails else {}).go()
    (name,) = it.claims
    it.retry()

    assert it.run.state is RunState.SUCCEEDED, it.run.error
    assert it.row("end").inputs.parameters == {"pvc_name": name}
    assert it.claims == {}
