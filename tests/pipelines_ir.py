"""Writing pipeline IR in tests: small functions that give the JSON the KFP compiler writes."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def constant(value: Any) -> Json:
    return {"runtimeValue": {"constant": value}}


def output(task: str, key: str = "Output") -> Json:
    return {"taskOutputParameter": {"producerTask": task, "outputParameterKey": key}}


def artifact(task: str, key: str = "model") -> Json:
    return {"taskOutputArtifact": {"producerTask": task, "outputArtifactKey": key}}


def given(name: str) -> Json:
    return {"componentInputParameter": name}


def task(component: str, **parts: Any) -> Json:
    """A task: ``parameters``, ``artifacts``, ``after``, ``condition``, ``always``, raw fields."""
    result: Json = {"componentRef": {"name": component}, "inputs": {}}
    for kind in ("parameters", "artifacts"):
        if kind in parts:
            result["inputs"][kind] = parts.pop(kind)
    if after := parts.pop("after", None):
        result["dependentTasks"] = after
    if condition := parts.pop("condition", None):
        result.setdefault("triggerPolicy", {})["condition"] = condition
    if parts.pop("always", False):
        result.setdefault("triggerPolicy", {})["strategy"] = "ALL_UPSTREAM_TASKS_COMPLETED"
    if parts.pop("cached", False):
        result["cachingOptions"] = {"enableCache": True}
    return {**result, **parts}


def definitions(parameters: Json | None = None, artifacts: Json | None = None) -> Json:
    """Declared inputs or outputs from short forms: a type's name, or the whole definition."""
    return {
        "parameters": {
            name: value if isinstance(value, dict) else {"parameterType": value}
            for name, value in (parameters or {}).items()
        },
        "artifacts": {
            name: value
            if isinstance(value, dict)
            else {"artifactType": {"schemaTitle": value, "schemaVersion": "0.0.1"}}
            for name, value in (artifacts or {}).items()
        },
    }


def step(inputs: Json | None = None, outputs: Json | None = None, **more: Any) -> Json:
    """A container component; ``input_artifacts``, ``output_artifacts``, ``executor``."""
    return {
        "executorLabel": more.get("executor", "exec"),
        "inputDefinitions": definitions(inputs, more.get("input_artifacts")),
        "outputDefinitions": definitions(outputs, more.get("output_artifacts")),
    }


def dag(tasks: Json, inputs: Json | None = None, outputs: Json | None = None, **more: Any) -> Json:
    """A DAG component; outputs are ``{name: (type, selectors)}``."""
    outputs = outputs or {}
    selectors = {}
    for name, (_, sources) in outputs.items():
        chosen = [{"producerSubtask": t, "outputParameterKey": k} for t, k in sources]
        selectors[name] = (
            {"valueFromParameter": chosen[0]}
            if len(chosen) == 1
            else {"valueFromOneof": {"parameterSelectors": chosen}}
        )
    artifact_outputs = more.get("output_artifacts", {})
    artifact_selectors = {
        name: {
            "artifactSelectors": [
                {"producerSubtask": t, "outputArtifactKey": k} for t, k in sources
            ]
        }
        for name, (_, sources) in artifact_outputs.items()
    }
    return {
        "dag": {
            "tasks": tasks,
            "outputs": {"parameters": selectors, "artifacts": artifact_selectors},
        },
        "inputDefinitions": definitions(inputs, more.get("input_artifacts")),
        "outputDefinitions": definitions(
            {name: type_ for name, (type_, _) in outputs.items()},
            {name: type_ for name, (type_, _) in artifact_outputs.items()},
        ),
    }


def pipeline(tasks: Json, components: Json, inputs: Json | None = None, **more: Any) -> Json:
    """A whole IR; ``executors`` beside the plain one, ``container`` to change that."""
    container = {"image": "python:3.12", "command": ["true"], **more.get("container", {})}
    return {
        "schemaVersion": "2.1.0",
        "sdkVersion": "kfp-2.17.0",
        "pipelineInfo": {"name": "p"},
        "components": components,
        "deploymentSpec": {
            "executors": {"exec": {"container": container}, **more.get("executors", {})}
        },
        "root": dag(tasks, inputs),
    }
