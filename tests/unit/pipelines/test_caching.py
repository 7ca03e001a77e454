"""What makes two tasks equal, so that the second takes the first one's outputs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bessemer.pipelines.caching import fingerprint
from bessemer.pipelines.records import Values
from bessemer.pipelines.spec.model import ArtifactDef, Component, Container, ParameterDef, TaskSpec
from bessemer.pipelines.types import ParameterType

TASK = TaskSpec("train", "train", "comp-train")
BODY = Container("python:3.11", ("python",), ("-c", "pass"), (("MODE", "fast"),))
MODEL = ArtifactDef("system.Model", "0.0.1")
COMPONENT = Component(
    "comp-train",
    {},
    {},
    {"loss": ParameterDef(ParameterType.NUMBER_DOUBLE)},
    {"model": MODEL},
    BODY,
)
GIVEN = Values({"depth": 3}, {"data": ["a1", "a2"]})
SETTINGS: dict[str, Any] = {"pvcMount": [{"name": "datasets"}]}


def mark(**changed: Any) -> str:
    """The fingerprint with something changed: a part of the container, of what it is given ..."""
    body = replace(BODY, **{k: v for k, v in changed.items() if hasattr(BODY, k)})
    declared = {k: v for k, v in changed.items() if k.startswith("output_")}
    return fingerprint(
        replace(TASK, cache_key=changed.get("cache_key", "")),
        replace(COMPONENT, name=changed.get("name", COMPONENT.name), body=body, **declared),
        Values(
            changed.get("parameters", GIVEN.parameters), changed.get("artifacts", GIVEN.artifacts)
        ),
        changed.get("extra", {}),
        changed.get("settings", SETTINGS),
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"image": "python:3.12"},
        {"command": ("python3",)},
        {"args": ("-c", "print()")},
        {"parameters": {"depth": 4}},
        {"parameters": {"depth": 3, "rounds": 1}},
        {"artifacts": {"data": ["a2", "a1"]}},
        {"artifacts": {"test": ["a1", "a2"]}},
        {"extra": {"image": "python:3.12"}},
        {"output_parameters": {"loss": ParameterDef(ParameterType.STRING)}},
        {"output_artifacts": {"model": ArtifactDef("system.Dataset", "0.0.1")}},
        {"settings": {}},
        {"cache_key": "mine"},
    ],
    ids=str,
)
def test_what_would_produce_something_else_is_another_task(changed: dict[str, Any]) -> None:
    assert mark(**changed) != mark()


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"env": (("MODE", "slow"),)},
        {"resources": {"cpuLimit": 4.0}},
        {"settings": {**SETTINGS, "nodeSelector": {}}},
        {"name": "comp-train-2"},
    ],
    ids=str,
)
def test_what_produces_the_same_is_the_same_task(changed: dict[str, Any]) -> None:
    assert mark(**changed) == mark()


def test_a_key_of_the_users_own_beats_all_but_the_component() -> None:
    assert mark(cache_key="mine", image="python:3.12") == mark(cache_key="mine")
    assert mark(cache_key="mine", name="comp-test") != mark(cache_key="mine")
