"""One thing in a pipeline is replaced by something odd: it is refused when read, or it runs."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import pytest

from bessemer.artifacts.store import Attachment
from bessemer.pipelines import platform, pods
from bessemer.pipelines.records import RunState, Task
from bessemer.pipelines.spec import InvalidSpec, load
from pipelines_ir import artifact, constant, dag, given, output, pipeline, step, task
from pipelines_world import World

Json = dict[str, Any]
Path = tuple[str | int, ...]

ECHO = step({"text": "STRING"}, {"Output": "STRING"})
TRAIN = step(
    {
        "n": {"parameterType": "NUMBER_INTEGER", "defaultValue": 1, "literals": [1, 2]},
        "status": {"parameterType": "TASK_FINAL_STATUS", "isOptional": True},
    },
    output_artifacts={"model": "system.Model"},
)
LOAD = step({"uri": "STRING"}, output_artifacts={"model": "system.Model"}, executor="load")
PICK = step(
    input_artifacts={
        "models": {"artifactType": {"schemaTitle": "system.Model"}, "isArtifactList": True}
    }
)
BODY = dag(
    {
        "train": task("train", parameters={"n": given("i")}),
        "echo": task("echo", parameters={"text": given("i")}, after=["train"]),
    },
    {"i": "NUMBER_INTEGER", "j": "STRING"},
    {"outs": ("LIST", [("echo", "Output")])},
    output_artifacts={"models": ("system.Model", [("train", "model")])},
)
FIELD = {**constant('{"a": 1}'), "parameterExpressionSelector": 'parseJson(string_value)["a"]'}
TASKS = {
    "first": task(
        "echo",
        parameters={"text": given("x"), "more": constant({"a": [1, "{{$.pipeline_job_uuid}}"]})},
        cachingOptions={"enableCache": True, "cacheKey": "k"},
        taskInfo={"name": "First"},
    ),
    "loop": task(
        "body",
        parameters={"j": output("first")},
        parameterIterator={"itemInput": "i", "items": {"raw": "[1, 2]"}},
        iteratorPolicy={"parallelismLimit": 1},
        retryPolicy={
            "maxRetryCount": 1,
            "backoffDuration": "1s",
            "backoffFactor": 3,
            "backoffMaxDuration": "60s",
        },
    ),
    "field": task("echo", parameters={"text": FIELD}, condition="1 < 2"),
    "load": task("load", parameters={"uri": output("first")}),
    "pick": task("pick", artifacts={"models": artifact("loop", "models")}),
    "last": task(
        "train",
        parameters={"status": {"taskFinalStatus": {"producerTask": "loop"}}},
        after=["loop"],
        always=True,
    ),
}
RESOURCES = {"cpuLimit": 1.0, "resourceMemoryLimit": "1Gi", "accelerator": {"count": "1"}}
IR = pipeline(
    TASKS,
    {"echo": ECHO, "train": TRAIN, "load": LOAD, "pick": PICK, "body": BODY},
    {"x": {"parameterType": "STRING", "defaultValue": "x"}},
    container={
        "args": ["--in", "{{$}}", '{"IfPresent": {"InputName": "text", "Then": ["a"]}}'],
        "env": [{"name": "A", "value": "b"}],
        "resources": RESOURCES,
    },
    executors={
        "load": {
            "importer": {
                "artifactUri": {"runtimeParameter": "uri"},
                "typeSchema": {"schemaTitle": "system.Model", "schemaVersion": "0.0.1"},
                "metadata": {"a": "{{$.inputs.parameters['uri']}}"},
                "reimport": True,
            }
        }
    },
)
SETTINGS = {
    "secretAsEnv": [
        {
            "secretNameParameter": constant("s"),
            "keyToEnv": [{"secretKey": "k", "envVar": "E"}],
            "optional": True,
        }
    ],
    "configMapAsVolume": [{"configMapName": "c", "mountPath": "/c"}],
    "pvcMount": [{"constant": "data", "mountPath": "/d", "subPath": "x"}],
    "tolerations": [
        {"key": "a", "tolerationSeconds": "3"},
        {"tolerationJson": constant({"key": "b"})},
    ],
    "nodeSelector": {"nodeSelectorJson": constant({"disk": "ssd"})},
    "podMetadata": {"labels": {"a": "b"}},
    "activeDeadlineSeconds": "60",
    "securityContext": {"runAsUser": "7", "runAsNonRoot": True},
    "genericEphemeralVolume": [{"volumeName": "v", "mountPath": "/v", "accessModes": ["x"]}],
}
DOCUMENT = {
    "pipeline_spec": IR,
    "platform_spec": {
        "platforms": {"kubernetes": {"deploymentSpec": {"executors": {"exec": SETTINGS}}}}
    },
}
ODD = [
    None, True, -1, 1.5, 10**400, float("nan"), "", "odd", "..", "\ud800", "[1", b"x",
    [], [None], ["odd"], [["odd"]], {}, {"odd": 1}, {1: 2}, {"odd": None},
]  # fmt: skip


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """The paths of everything below a document's root."""
    children = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in children:
        yield (*path, key)
        if isinstance(child, dict | list):
            yield from places(child, (*path, key))


def changed(path: Path, odd: Any) -> Json:
    """The document with something odd at a place."""
    document = copy.deepcopy(DOCUMENT)
    parent: Any = document
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = odd
    return document


def behave(task_: Task, executor_input: Json) -> Json:
    text = executor_input["inputs"]["parameterValues"].get("text", "")
    return {"parameterValues": {"Output": text}}


def run(document: Json) -> World:
    world = World(load(document), behave).go()
    for name in world.created:
        pod = world.pods[name]
        with contextlib.suppress(platform.InvalidSetting):  # the reconciler ends the task
            pods.build(pod.action, world.run, Attachment())
    return world


def test_unchanged_it_succeeds() -> None:
    world = run(DOCUMENT)

    assert world.run.state is RunState.SUCCEEDED, world.run.error
    assert len(world.created) == 8


@pytest.mark.parametrize("path", list(places(DOCUMENT)), ids=lambda path: ".".join(map(str, path)))
def test_something_odd_is_refused_when_read_or_the_run_ends(path: Path) -> None:
    for odd in ODD:
        try:
            world = run(changed(path, odd))
        except InvalidSpec:
            continue
        assert world.run.state in (RunState.SUCCEEDED, RunState.FAILED), odd
