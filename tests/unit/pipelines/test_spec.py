"""Reading pipelines: the whole corpus, and every way in which one can be wrong."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from bessemer.pipelines.spec import InvalidArguments, InvalidSpec, check_arguments, load
from pipelines_ir import constant, dag, given, output, pipeline, step, task

CORPUS = Path(__file__).parents[4] / "shared" / "corpus"
# Some hold objects that a pipeline needs, and no pipeline.
FILES = [
    file for file in sorted((CORPUS / "kfp").glob("*.yaml")) if "pipelineInfo" in file.read_text()
]
BROKEN = sorted((CORPUS / "kfp-invalid").glob("*"))
needs_corpus = pytest.mark.skipif(not FILES, reason="the shared corpus is not beside the checkout")


@pytest.mark.shared
@needs_corpus
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_compiled_pipeline_is_read(file: Path) -> None:
    spec = load(file.read_text())

    assert spec.root.name == "root"
    assert load({"pipeline_spec": spec.document, "platform_spec": spec.platform_document}) == spec


@pytest.mark.shared
@needs_corpus
@pytest.mark.parametrize("file", BROKEN, ids=lambda file: file.name)
def test_every_broken_file_is_refused(file: Path) -> None:
    with pytest.raises(InvalidSpec):
        load(file.read_bytes())


GOOD = pipeline(
    {"a": task("a", parameters={"x": given("x")}), "b": task("b", after=["a"])},
    {"a": step({"x": "STRING"}, {"Output": "STRING"}), "b": step()},
    {"x": "STRING"},
)


def changed(**parts: Any) -> dict[str, Any]:
    return {**GOOD, **parts}


def with_tasks(tasks: dict[str, Any], **components: Any) -> dict[str, Any]:
    return pipeline(tasks, {**GOOD["components"], **components}, {"x": "STRING"})


def with_executor(executor: dict[str, Any]) -> dict[str, Any]:
    return changed(deploymentSpec={"executors": {"exec": executor}})


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ("- a\n- b", "must be a mapping"),
        ("a: [", "not valid YAML"),
        (changed(schemaVersion="3.0.0"), "schemaVersion must be 2.1.0, but got '3.0.0'"),
        (changed(pipelineInfo={"name": "Bad Name"}), "pipelineInfo.name must match"),
        (changed(root={}), "has no root"),
        (changed(extra=1), r"unknown, or not supported yet: \['extra'\]"),
        (with_tasks({"t": task("nowhere")}), "component 'nowhere'"),
        (with_tasks({"t": task("b", after=["u"])}), "depends on task 'u'"),
        (
            with_tasks({"t": task("b", after=["u"]), "u": task("b", after=["t"])}),
            r"\['t', 'u'\].*cycle",
        ),
        (with_tasks({"t": task("d")}, d=dag({"again": task("d")})), "cycle"),
        (with_tasks({"t": task("a")}), r"gives component 'a' no value for \['x'\]"),
        (
            with_tasks({"t": task("b"), "u": task("a", parameters={"x": output("t")})}),
            "declares only",
        ),
        (with_tasks({"t": task("a", parameters={"x": given("y")})}), "declares no such input"),
        (with_tasks({"t": task("b", condition="1 +")}), "the condition of task 't' is invalid"),
        (with_tasks({"..": task("b")}), r"the name of task '\.\.' must be letters"),
        (with_tasks({"a.1": task("b")}), r"the name of task 'a\.1' must be letters"),
        (with_tasks({"x/y": task("b")}), "the name of task 'x/y' must be letters"),
        (
            with_tasks({"t": task("b")}, b=step({}, {"../../x": "STRING"})),
            "the name of an output of component 'b' must be letters",
        ),
        (
            with_tasks({"t": task("b", iteratorPolicy={"parallelismLimit": -1})}),
            "parallelismLimit must be a whole number from 0 to 2.63, but got -1",
        ),
        (
            with_tasks({"t": task("b", retryPolicy={"backoffDuration": "NaNs"})}),
            "backoffDuration must be a number of seconds like '60s', but got 'NaNs'",
        ),
        (
            with_tasks({"t": task("b", condition="inputs.parameter_values['z'] == 1")}),
            r"the condition of task 't' reads \['z'\]",
        ),
        (
            with_tasks({"t": task("b", triggerPolicy={"strategy": "SOMETIMES"})}),
            "the strategy of task 't' must be one of",
        ),
        (with_tasks({"t": task("b")}, root=step()), "may not be called 'root'"),
        (changed(root=step()), "the root must be a dag"),
        (with_executor({"container": {"image": "i"}, "importer": {}}), "only one of"),
        (
            with_executor({"container": {"image": "i", "command": ["a", 1]}}),
            r"command\[1\] must be a text, but got 1",
        ),
        (
            "schemaVersion: 2.1.0\npipelineInfo: {name: p}\n1: x",
            "must have texts as keys, but got 1; quote it",
        ),
        (with_executor({"resolver": {}}), "Vertex"),
        (with_executor({"customJob": {}}), "Vertex"),
        (with_executor({"container": {}}), "must name an image"),
        (changed(deploymentSpec={}), "names executor 'exec'"),
        (yaml.safe_dump_all([GOOD, GOOD]), "exactly one pipeline spec, but got 2"),
        (
            yaml.safe_dump_all(
                [
                    GOOD,
                    {
                        "platforms": {
                            "kubernetes": {
                                "deploymentSpec": {"executors": {"exec": {"podAffinity": []}}}
                            }
                        }
                    },
                ]
            ),
            "podAffinity",
        ),
    ],
)
def test_a_broken_pipeline_is_refused_with_the_reason(document: Any, why: str) -> None:
    with pytest.raises(InvalidSpec, match=why):
        load(document)


def with_settings(settings: dict[str, Any], ir: dict[str, Any] = GOOD) -> dict[str, Any]:
    """A submission whose one executor has these Kubernetes settings."""
    kubernetes = {"deploymentSpec": {"executors": {"exec": settings}}}
    return {"pipeline_spec": ir, "platform_spec": {"platforms": {"kubernetes": kubernetes}}}


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"secretAsEnv": [{"secretName": "s", "keyToEnv": [{"envVar": "A"}]}]}, "secretKey"),
        ({"secretAsVolume": [{"secretName": "s"}]}, "mountPath"),
        ({"pvcMount": [{"mountPath": "/x", "componentInputParameter": "n"}]}, "no such input"),
        (
            {
                "secretAsEnv": [
                    {
                        "secretNameParameter": {
                            "taskOutputParameter": {
                                "producerTask": "ghost",
                                "outputParameterKey": "Output",
                            }
                        }
                    }
                ]
            },
            "task 'ghost', which is not in the same dag",
        ),
        ({"activeDeadlineSeconds": "soon"}, "activeDeadlineSeconds must be a whole number"),
        ({"tolerations": [{"tolerationSeconds": -1}]}, "tolerationSeconds must be a whole number"),
    ],
)
def test_a_broken_kubernetes_setting_is_refused_when_it_is_read(
    settings: dict[str, Any], why: str
) -> None:
    with pytest.raises(InvalidSpec, match=why):
        load(with_settings(settings))


def test_settings_of_other_platforms_are_none_of_ours() -> None:
    text = yaml.safe_dump_all([GOOD, {"platforms": {"vertex": {"config": {"a": 1}}}}])

    assert load(text).kubernetes == {}


def test_json_may_spell_an_emoji_as_two_escapes() -> None:
    text = json.dumps({**GOOD, "pipelineInfo": {"name": "p", "description": "done \U0001f600"}})

    assert "\\ud83d" in text
    assert load(text).description == "done \U0001f600"


def test_a_name_may_have_dots() -> None:
    assert load(changed(pipelineInfo={"name": "my.pipeline-2"})).name == "my.pipeline-2"


TYPED = load(
    pipeline(
        {"b": task("b")},
        {"b": step()},
        {
            "n": "NUMBER_INTEGER",
            "d": {"parameterType": "NUMBER_DOUBLE", "defaultValue": 2.0},
            "o": {"parameterType": "STRUCT", "isOptional": True},
            "l": {"parameterType": "STRING", "literals": ["a", "b"], "isOptional": True},
        },
    )
)


DEEP: list[Any] = []
for _ in range(400):
    DEEP = [DEEP]


def test_arguments_get_their_defaults() -> None:
    assert check_arguments(TYPED, {"n": 3.0}) == {"n": 3, "d": 2}


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({}, "parameter n is not optional"),
        ({"n": "3"}, "parameter 'n' must be an integer"),
        ({"n": 1, "z": 1}, "not required by pipeline: z"),
        ({"n": 1, "o": []}, "parameter 'o' must be a JSON object"),
        ({"n": 1, "l": "c"}, "must be one of"),
        ({"n": 2**70}, "parameter 'n' must be an integer"),
        ({"n": 1, "d": math.inf}, "JSON has no number"),
        ({"n": 1, "o": {"a": "\ud800"}}, "surrogate"),
        ({"n": 1, "o": {"a": DEEP}}, "nested more than 200 levels deep"),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidArguments, match=why):
        check_arguments(TYPED, arguments)


def test_a_constant_stays_typed() -> None:
    spec = load(with_tasks({"t": task("a", parameters={"x": constant(3.0)})}))

    root: Any = spec.root.body
    assert root.tasks["t"].parameters["x"].source.value == 3
