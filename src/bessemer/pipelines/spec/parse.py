"""From the IR's JSON to the nouns of ``model``: field by field, refusing what it doesn't know."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from bessemer.pipelines import conditions
from bessemer.pipelines.spec import graph
from bessemer.pipelines.spec.model import (
    ArtifactDef,
    Component,
    Constant,
    Container,
    Dag,
    DagInput,
    FinalStatus,
    Importer,
    InvalidSpec,
    Iterator,
    ParameterDef,
    ParameterInput,
    Retry,
    Source,
    Spec,
    TaskOutput,
    TaskSpec,
)
from bessemer.pipelines.types import ParameterType, normalize, shorten

SCHEMA_VERSION = "2.1.0"
Json = Mapping[str, Any]
_NAME = re.compile(r"[a-z0-9][-a-z0-9]{0,127}")
_FIELD = re.compile(r"""parseJson\(string_value\)\[(?P<quote>["'])(?P<name>.*)(?P=quote)\]""")
# What a PlatformSpec may set for an executor; ``pipelines.platform`` writes each into the pod.
SETTINGS = frozenset(
    [
        "secretAsVolume",
        "secretAsEnv",
        "configMapAsVolume",
        "configMapAsEnv",
        "pvcMount",
        "emptyDirMounts",
        "genericEphemeralVolume",
        "enabledSharedMemory",
        "podMetadata",
        "nodeSelector",
        "tolerations",
        "imagePullPolicy",
        "imagePullSecret",
        "activeDeadlineSeconds",
        "fieldPathAsEnv",
        "securityContext",
    ]
)
_ALWAYS = "ALL_UPSTREAM_TASKS_COMPLETED"
_KNOWN = {
    "the pipeline spec": frozenset(
        [
            "pipelineInfo",
            "deploymentSpec",
            "sdkVersion",
            "schemaVersion",
            "components",
            "root",
            "defaultPipelineRoot",
        ]
    ),
    "component": frozenset(
        [
            "inputDefinitions",
            "outputDefinitions",
            "dag",
            "executorLabel",
            "singlePlatformSpecs",
            "taskConfigPassthroughs",
        ]
    ),
    "task": frozenset(
        [
            "taskInfo",
            "inputs",
            "dependentTasks",
            "cachingOptions",
            "componentRef",
            "triggerPolicy",
            "artifactIterator",
            "parameterIterator",
            "retryPolicy",
            "iteratorPolicy",
        ]
    ),
    "container": frozenset(["image", "command", "args", "lifecycle", "resources", "env"]),
    "importer": frozenset(
        [
            "artifactUri",
            "typeSchema",
            "properties",
            "customProperties",
            "reimport",
            "metadata",
            "downloadToWorkspace",
        ]
    ),
}


def parse(document: Json, platform: Json) -> Spec:
    """The checked spec of an IR and its PlatformSpec (empty if there is none)."""
    if not document:
        raise InvalidSpec("the pipeline spec is empty; compile the pipeline and submit its file")
    _refuse_unknown("the pipeline spec", "the pipeline spec", document)
    version = document.get("schemaVersion")
    if version != SCHEMA_VERSION:
        raise InvalidSpec(
            f"schemaVersion must be {SCHEMA_VERSION}, but got {version!r}; "
            "compile the pipeline with kfp 2"
        )
    info = _mapping(document, "pipelineInfo", "the pipeline spec")
    name = info.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidSpec(
            f"pipelineInfo.name must match [a-z0-9][-a-z0-9]{{0,127}}, but got {name!r}"
        )
    executors = _mapping(_mapping(document, "deploymentSpec", name), "executors", name)
    components = {
        key: _component(key, _checked(value, f"component {key!r}"), executors)
        for key, value in _mapping(document, "components", name).items()
    }
    if not document.get("root"):
        raise InvalidSpec(f"pipeline {name!r} has no root; compile it with kfp 2")
    root = _component("root", _mapping(document, "root", name), executors)
    graph.check(root, components)
    return Spec(
        name=name,
        display_name=str(info.get("displayName") or name),
        description=str(info.get("description") or ""),
        root=root,
        components=components,
        default_root=str(document.get("defaultPipelineRoot") or ""),
        kubernetes=_kubernetes(platform),
        document=document,
        platform_document=platform,
    )


def _kubernetes(platform: Json) -> Mapping[str, Json]:
    if not platform:
        return {}
    platforms = _mapping(platform, "platforms", "the platform spec")
    if others := sorted(set(platforms) - {"kubernetes"}):
        raise InvalidSpec(f"only the platform kubernetes is supported, but got {others}")
    settings = _mapping(platforms, "kubernetes", "the platform spec")
    if pipeline := settings.get("pipelineConfig"):
        raise InvalidSpec(
            f"pipelineConfig {sorted(pipeline)} is not supported yet; remove it from the pipeline"
        )
    executors = _mapping(_mapping(settings, "deploymentSpec", "kubernetes"), "executors", "it")
    for label, value in executors.items():
        if unknown := sorted(set(_checked(value, f"platform of {label!r}")) - SETTINGS):
            raise InvalidSpec(
                f"the Kubernetes settings {unknown} of executor {label!r} are not supported yet; "
                f"supported are {sorted(SETTINGS)}"
            )
    return executors


def _checked(value: Any, where: str) -> Json:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidSpec(f"{where} must be a mapping, but got {shorten(value)}")
    return value


def _mapping(parent: Json, key: str, where: str) -> Json:
    return _checked(parent.get(key), f"{key} of {where}")


def _refuse_unknown(kind: str, where: str, value: Json) -> None:
    if unknown := sorted(set(value) - _KNOWN[kind]):
        raise InvalidSpec(
            f"{where} has unknown fields {unknown}; known are {sorted(_KNOWN[kind])}"
        )


def _component(name: str, value: Json, executors: Json) -> Component:
    where = f"component {name!r}"
    _refuse_unknown("component", where, value)
    inputs, outputs = (
        _mapping(value, key, where) for key in ("inputDefinitions", "outputDefinitions")
    )
    if value.get("taskConfigPassthroughs"):
        raise InvalidSpec(f"{where}: taskConfigPassthroughs is not supported yet; remove it")
    label = str(value.get("executorLabel") or "")
    body: Dag | Container | Importer
    if "dag" in value:
        body = _dag(name, _mapping(value, "dag", where))
    elif label:
        if label not in executors:
            raise InvalidSpec(f"{where} names executor {label!r}, which deploymentSpec lacks")
        body = _executor(label, _checked(executors[label], f"executor {label!r}"))
    else:
        raise InvalidSpec(f"{where} must have a dag or an executorLabel, but has neither")
    return Component(
        name=name,
        parameters=_parameter_defs(inputs, where),
        artifacts=_artifact_defs(inputs, where),
        output_parameters=_parameter_defs(outputs, where),
        output_artifacts=_artifact_defs(outputs, where),
        body=body,
        executor=label,
    )


def _parameter_defs(definitions: Json, where: str) -> Mapping[str, ParameterDef]:
    result = {}
    for name, raw in _mapping(definitions, "parameters", where).items():
        value = _checked(raw, f"parameter {name!r} of {where}")
        type_ = str(value.get("parameterType"))
        if type_ not in ParameterType.__members__:
            raise InvalidSpec(
                f"parameter {name!r} of {where} must have a parameterType of "
                f"{list(ParameterType.__members__)}, but got {type_!r}"
            )
        has_default = value.get("defaultValue") is not None
        result[name] = ParameterDef(
            type=ParameterType(type_),
            optional=bool(value.get("isOptional")) or has_default,
            has_default=has_default,
            default=normalize(value.get("defaultValue")),
            literals=tuple(normalize(item) for item in value.get("literals") or ()),
        )
    return result


def _artifact_defs(definitions: Json, where: str) -> Mapping[str, ArtifactDef]:
    result = {}
    for name, raw in _mapping(definitions, "artifacts", where).items():
        value = _checked(raw, f"artifact {name!r} of {where}")
        schema = _mapping(value, "artifactType", where)
        result[name] = ArtifactDef(
            type=str(schema.get("schemaTitle") or "system.Artifact"),
            version=str(schema.get("schemaVersion") or "0.0.1"),
            is_list=bool(value.get("isArtifactList")),
            optional=bool(value.get("isOptional")),
        )
    return result


def _executor(label: str, value: Json) -> Container | Importer:
    where = f"executor {label!r}"
    if "container" in value:
        return _container(_mapping(value, "container", where), where)
    if "importer" in value:
        return _importer(_mapping(value, "importer", where), where)
    raise InvalidSpec(
        f"{where} must be a container or an importer, but is {sorted(value)}: "
        "resolvers and custom jobs exist only on Vertex AI"
    )


def _container(value: Json, where: str) -> Container:
    _refuse_unknown("container", where, value)
    image = value.get("image")
    if not image or not isinstance(image, str):
        raise InvalidSpec(f"{where} must name an image, but got {image!r}")
    return Container(
        image=image,
        command=_texts(value, "command", where),
        args=_texts(value, "args", where),
        env=tuple(
            (str(entry.get("name", "")), str(entry.get("value", "")))
            for entry in value.get("env") or ()
        ),
        resources=_mapping(value, "resources", where),
    )


def _texts(value: Json, key: str, where: str) -> tuple[str, ...]:
    items = value.get(key) or []
    if not isinstance(items, list):
        raise InvalidSpec(f"{key} of {where} must be a list of texts, but got {shorten(items)}")
    return tuple(str(item) for item in items)


def _importer(value: Json, where: str) -> Importer:
    _refuse_unknown("importer", where, value)
    uri, schema = _mapping(value, "artifactUri", where), _mapping(value, "typeSchema", where)
    constant = uri.get("constant", "")
    if isinstance(constant, Mapping):  # the deprecated Value of proto: {"stringValue": ...}
        constant = constant.get("stringValue", "")
    if not constant and not uri.get("runtimeParameter"):
        raise InvalidSpec(f"{where} must have an artifactUri, but got {dict(uri)}")
    if value.get("downloadToWorkspace"):
        raise InvalidSpec(f"{where}: downloadToWorkspace is not supported yet; remove it")
    return Importer(
        uri=str(constant),
        uri_parameter=str(uri.get("runtimeParameter") or ""),
        type=str(schema.get("schemaTitle") or "system.Artifact"),
        version=str(schema.get("schemaVersion") or "0.0.1"),
        metadata=_mapping(value, "metadata", where),
        reimport=bool(value.get("reimport")),
    )


def _dag(name: str, value: Json) -> Dag:
    where = f"dag of component {name!r}"
    tasks = {
        key: _task(key, _checked(task, f"task {key!r}"))
        for key, task in _mapping(value, "tasks", where).items()
    }
    outputs = _mapping(value, "outputs", where)
    parameters = {
        key: _parameter_selectors(_checked(raw, key), f"output {key!r} of {where}")
        for key, raw in _mapping(outputs, "parameters", where).items()
    }
    artifacts = {
        key: tuple(
            TaskOutput(str(entry.get("producerSubtask")), str(entry.get("outputArtifactKey")))
            for entry in _checked(raw, key).get("artifactSelectors") or ()
        )
        for key, raw in _mapping(outputs, "artifacts", where).items()
    }
    return Dag(tasks, graph.order(name, tasks), parameters, artifacts)


def _parameter_selectors(value: Json, where: str) -> tuple[TaskOutput, ...]:
    if one := value.get("valueFromParameter"):
        selectors = [one]
    elif several := value.get("valueFromOneof"):
        selectors = several.get("parameterSelectors") or []
    else:
        raise InvalidSpec(f"{where} must come from one task or one of several, but got {value}")
    return tuple(
        TaskOutput(str(entry.get("producerSubtask")), str(entry.get("outputParameterKey")))
        for entry in selectors
    )


def _task(name: str, value: Json) -> TaskSpec:
    where = f"task {name!r}"
    _refuse_unknown("task", where, value)
    inputs = _mapping(value, "inputs", where)
    parameters = {
        key: _parameter_input(_checked(raw, key), f"input {key!r} of {where}")
        for key, raw in _mapping(inputs, "parameters", where).items()
    }
    artifacts = {
        key: _artifact_input(_checked(raw, key), f"input {key!r} of {where}")
        for key, raw in _mapping(inputs, "artifacts", where).items()
    }
    sources = [item.source for item in parameters.values()] + list(artifacts.values())
    producers = {item.task for item in sources if isinstance(item, TaskOutput | FinalStatus)}
    trigger = _mapping(value, "triggerPolicy", where)
    caching = _mapping(value, "cachingOptions", where)
    return TaskSpec(
        name=name,
        display_name=str(_mapping(value, "taskInfo", where).get("name") or name),
        component=str(_mapping(value, "componentRef", where).get("name") or ""),
        parameters=parameters,
        artifacts=artifacts,
        depends=frozenset(producers | set(value.get("dependentTasks") or ())),
        condition=_condition(trigger, where),
        always=trigger.get("strategy") == _ALWAYS,
        iterator=_iterator(value, where),
        parallelism=int(_mapping(value, "iteratorPolicy", where).get("parallelismLimit") or 0),
        retry=_retry(_mapping(value, "retryPolicy", where), where),
        cache=bool(caching.get("enableCache")),
        cache_key=str(caching.get("cacheKey") or ""),
    )


def _condition(trigger: Json, where: str) -> conditions.Expression | None:
    text = trigger.get("condition")
    if not text:
        return None
    try:
        return conditions.parse(str(text))
    except conditions.InvalidCondition as error:
        raise InvalidSpec(f"the condition of {where} is invalid: {error}") from None


def _parameter_input(value: Json, where: str) -> ParameterInput:
    source: Source
    if output := value.get("taskOutputParameter"):
        source = TaskOutput(str(output.get("producerTask")), str(output.get("outputParameterKey")))
    elif "runtimeValue" in value:
        source = _runtime_value(_mapping(value, "runtimeValue", where), where)
    elif name := value.get("componentInputParameter"):
        source = DagInput(str(name))
    elif status := value.get("taskFinalStatus"):
        source = FinalStatus(str(status.get("producerTask")))
    else:
        raise InvalidSpec(f"{where} has no source that we know: {sorted(value)}")
    selector = value.get("parameterExpressionSelector")
    if not selector:
        return ParameterInput(source)
    match = _FIELD.fullmatch(str(selector))
    if match is None:
        raise InvalidSpec(
            f'{where}: the selector must be parseJson(string_value)["key"], but got {selector!r}'
        )
    return ParameterInput(source, match["name"])


def _runtime_value(value: Json, where: str) -> Source:
    if name := value.get("runtimeParameter"):
        return DagInput(str(name))
    if "constantValue" in value:  # the deprecated Value of proto: {"stringValue": ...}
        return Constant(next(iter(value["constantValue"].values()), None))
    if "constant" not in value:
        raise InvalidSpec(f"{where} must have a constant, but got {dict(value)}")
    return Constant(normalize(value["constant"]))


def _artifact_input(value: Json, where: str) -> TaskOutput | DagInput:
    if output := value.get("taskOutputArtifact"):
        return TaskOutput(str(output.get("producerTask")), str(output.get("outputArtifactKey")))
    if name := value.get("componentInputArtifact"):
        return DagInput(str(name))
    raise InvalidSpec(f"{where} has no source that we know: {sorted(value)}")


def _iterator(value: Json, where: str) -> Iterator | None:
    for key in ("parameterIterator", "artifactIterator"):
        if key in value:
            spec = _mapping(value, key, where)
            items, item_input = _mapping(spec, "items", where), str(spec.get("itemInput") or "")
            if len(items) != 1 or not item_input:
                raise InvalidSpec(f"{key} of {where} must have items and itemInput")
            return Iterator(
                item_input,
                raw=items.get("raw"),
                parameter=str(items.get("inputParameter") or ""),
                artifact=str(items.get("inputArtifact") or ""),
            )
    return None


def _retry(value: Json, where: str) -> Retry | None:
    if not value.get("maxRetryCount"):
        return None
    return Retry(
        limit=int(value["maxRetryCount"]),
        backoff=_seconds(value.get("backoffDuration", "0s"), where),
        factor=float(value.get("backoffFactor") or 2.0),
        window=_seconds(value.get("backoffMaxDuration") or "3600s", where),
    )


def _seconds(value: Any, where: str) -> float:
    """A protobuf Duration in JSON: "1.5s"; some compilers wrote {"seconds": 1}."""
    if isinstance(value, Mapping):
        return float(value.get("seconds") or 0)
    try:
        return float(json.loads(str(value).removesuffix("s")))
    except ValueError:
        raise InvalidSpec(
            f"a duration of {where} must be seconds like '60s', but got {value!r}"
        ) from None
