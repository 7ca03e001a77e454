"""What a step is given, what it may leave behind, and what of that is read."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from bessemer.pipelines import executor_io, placeholders, spec
from bessemer.pipelines.executor_io import InvalidOutput, Written
from bessemer.pipelines.records import Task
from bessemer.pipelines.spec.model import Component, Container
from pipelines_ir import artifact, constant, output, pipeline, step, task
from pipelines_world import World

MAKE = step(
    {"x": {"parameterType": "STRING", "isOptional": True}},
    {"n": "NUMBER_INTEGER"},
    output_artifacts={"model": "system.Model"},
)
USE = step({}, input_artifacts={"model": "system.Model"})


def start() -> World:
    tasks = {"make": task("make"), "use": task("use", artifacts={"model": artifact("make")})}
    return World(spec.load(pipeline(tasks, {"make": MAKE, "use": USE}))).start()


def made() -> tuple[Task, Component]:
    action = start().pods[start().created[0]].action
    return action.task, action.component


def read(written: Written) -> tuple[Any, Any]:
    return executor_io.read_output(*made(), written)


def test_the_input_names_every_output_and_leaves_absent_ones_out() -> None:
    world = start()
    got = world.input_of(world.created[0])
    root = "/artifacts/p/run-1/make"

    assert got["inputs"]["parameterValues"] == {}
    assert got["outputs"]["parameters"] == {"n": {"outputFile": f"{root}/.parameter-n"}}
    assert got["outputs"]["outputFile"] == f"{root}/executor_output.json"
    assert got["outputs"]["artifacts"]["model"]["artifacts"][0]["uri"] == f"{root}/model"


def test_metadata_and_place_of_an_artifact_reach_its_consumer() -> None:
    def write(_task: Task, _input: dict[str, Any]) -> dict[str, Any]:
        described = {"uri": "/elsewhere", "metadata": {"acc": 1.0}, "custom_path": "/c"}
        return {"parameterValues": {"n": 1}, "artifacts": {"model": {"artifacts": [described]}}}

    world = start()
    world.behaviour = write
    world.end(world.created[0])
    [got] = world.input_of(world.created[1])["inputs"]["artifacts"]["model"]["artifacts"]

    assert got["uri"] == "/elsewhere"
    assert got["metadata"] == {"acc": 1}
    assert got["customPath"] == "/c"
    assert got["name"] in world.artifacts


def test_the_executor_output_beats_the_parameter_file() -> None:
    values, _ = read(Written(json.dumps({"parameterValues": {"n": 2.0}}), {"n": "1"}))

    assert values.parameters == {"n": 2}


def test_without_an_executor_output_the_file_is_read() -> None:
    values, artifacts = read(Written(None, {"n": "7\n"}))

    assert values.parameters == {"n": 7}
    assert artifacts[0].uri == "/artifacts/p/run-1/make/model"


def described(entry: str) -> str:
    return f'{{"artifacts": {{"model": {{"artifacts": [{entry}]}}}}}}'


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (Written(None, {"n": None}), "output parameter 'n' was not written"),
        (Written("{}", {}), "output parameter 'n' was not written"),
        (Written(None, {"n": "many"}), "output parameter 'n' must be an integer"),
        (Written('{"parameterValues": {"n": "1"}}', {}), "must be an integer"),
        (Written("{", {}), "must be JSON"),
        (Written("[]", {}), "must be a JSON object"),
        (Written('{"parameterValues": ["n"]}', {}), "'parameterValues' .* must be a JSON object"),
        (Written('{"artifacts": ["model"]}', {"n": "1"}), "'artifacts' .* must be a JSON object"),
        (Written('{"artifacts": {"model": "m"}}', {"n": "1"}), "'model' .* must be a JSON object"),
        (Written('{"artifacts": {"model": {"artifacts": {}}}}', {"n": "1"}), "must be a list"),
        (Written(described('"m"'), {"n": "1"}), "artifact 'model' .* must be a JSON object"),
        (Written(described('{"metadata": 1}'), {"n": "1"}), "'metadata' .* must be a JSON object"),
        (Written(described('{"metadata": {"loss": NaN}}'), {"n": "1"}), "JSON has no number"),
        (Written('{"parameterValues": {"n": Infinity}}', {}), "JSON has no number"),
        (Written('{"parameterValues": {"n": "\\ud800"}}', {}), "surrogate"),
        (Written("[" * 100_000, {}), "must be JSON"),
    ],
)
def test_a_wrong_output_fails_by_name(written: Written, why: str) -> None:
    with pytest.raises(InvalidOutput, match=why):
        read(written)


def test_fields_of_an_object_are_selected() -> None:
    echo = step({"text": "STRING"})
    chosen = {
        **constant('{"a": {"b": 1.0}}'),
        "parameterExpressionSelector": 'parseJson(string_value)["a"]',
    }
    world = World(spec.load(pipeline({"e": task("e", parameters={"text": chosen})}, {"e": echo})))
    world.go()

    assert world.row("e").inputs.parameters == {"text": '{"b": 1}'}


def test_constants_hold_the_run_and_other_inputs() -> None:
    echo = step({"text": "STRING", "more": "STRUCT"})
    parameters = {
        "pipelinechannel--n": constant(3.0),
        "text": constant("{{$.pipeline_job_uuid}}/{{$.inputs.parameters['pipelinechannel--n']}}"),
        "more": constant(
            {
                "job": "{{$.pipeline_job_name}}",
                "n": "{{$.inputs.parameters['pipelinechannel--n']}}",
            }
        ),
    }
    world = World(spec.load(pipeline({"e": task("e", parameters=parameters)}, {"e": echo}))).go()

    assert world.row("e").inputs.parameters == {
        "text": "run-1/3",
        "more": {"job": "my run", "n": 3},
    }


def test_what_only_a_placeholder_sees_counts_for_the_cache() -> None:
    image = "{{$.inputs.parameters['pipelinechannel--image']}}"
    prints = []
    for value in ("python:3.11", "python:3.12", "python:3.11"):
        parameters = {"pipelinechannel--image": constant(value)}
        tasks = {"e": task("e", parameters=parameters, cached=True)}
        ir = pipeline(tasks, {"e": step()}, container={"image": image})
        prints += World(spec.load(ir)).start().asked

    assert prints[0] == prints[2] != prints[1]


def test_a_failed_output_is_not_taken_by_the_next() -> None:
    add = step({"x": "NUMBER_INTEGER"})
    tasks = {"make": task("make"), "add": task("add", parameters={"x": output("make", "n")})}
    world = World(spec.load(pipeline(tasks, {"make": MAKE, "add": add}))).go()

    assert world.states() == {"root": "FAILED", "make": "FAILED", "add": "SKIPPED"}
    assert "task 'make', which it depends on, is FAILED" in world.row("add").error


@pytest.mark.parametrize(
    ("command", "old"),
    [
        (("sh", "-c", "pip install 'kfp==2.4.0' && \"$0\"", "sh", "-ec", "..."), True),
        (("sh", "-c", "pip install kfp==2.0.0-beta.3", "sh"), True),
        (("sh", "-c", "pip install 'kfp==2.5.0'", "sh"), False),
        (("sh", "-c", "pip install 'kfp==2.14.3'", "sh"), False),
        (("sh", "-c", "pip install 'kfp==2.40.0'", "sh"), False),
        (("sh", "-c", "true", "sh", "-ec", "kfp==2.4.0"), False),
        (("python3", "-m", "x", "kfp==2.4.0"), False),
        ((), False),
    ],
)
def test_an_old_sdk_is_known_by_what_its_step_installs(
    command: tuple[str, ...], *, old: bool
) -> None:
    body = Container("python:3.11", command)

    assert executor_io.is_old(replace(made()[1], body=body)) is old


def test_an_old_sdk_gets_its_paths_by_a_uri_that_it_has_a_path_for() -> None:
    task_, component = made()
    body = Container("python:3.11", ("sh", "-c", "pip install kfp==2.4.0"))
    component = replace(component, body=body)
    given = executor_io.make_input(task_, component, {})
    (entry,) = given["outputs"]["artifacts"]["model"]["artifacts"]
    lookup = executor_io.make_lookup(given, {}, lambda _: placeholders.UNKNOWN)
    written = {"parameterValues": {"n": 1}, "artifacts": {"model": {"artifacts": [entry]}}}
    _, artifacts = executor_io.read_output(task_, component, Written(json.dumps(written), {}))

    path = f"{task_.task_root}/model"
    assert entry["uri"] == f"minio://{path}"  # whose path is /minio//..., which is mounted
    assert lookup(".outputs.artifacts['model'].path") == path
    assert [one.uri for one in artifacts] == [path]
