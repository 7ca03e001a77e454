"""From the IR's JSON to the nouns of ``model``, field by field; its shape is proven first."""

from __future__ import annotations

import re
from collections.abc import Iterator as Iterates
from collections.abc import Mapping
from typing import Any

from bessemer.pipelines import conditions
from bessemer.pipelines.spec import graph, items, messages
from bessemer.pipelines.spec.model import (
    ArtifactDef,
    Claim,
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
_NAME = re.compile(r"[a-z0-9][-.a-z0-9]{0,127}")
_FIELD = re.compile(r"""parseJson\(string_value\)\[(?P<quote>["'])(?P<name>.*)(?P=quote)\]""")
_ALWAYS = "ALL_UPSTREAM_TASKS_COMPLETED"
_STRATEGIES = ("", "TRIGGER_STRATEGY_UNSPECIFIED", "ALL_UPSTREAM_TASKS_SUCCEEDED", _ALWAYS)
# Stubs in place of images, by which the engine knows what is meant; as upstream's driver.
_CLAIMS = {"argostub/createpvc": Claim.CREATE, "argostub/deletepvc": Claim.DELETE}
# Names that become folders and files of a run.
_PLACE = re.compile(r"[\w-]{1,100}")
# Where a Kubernetes setting takes its value from, beside pvcMount's own fields.
_SETTING_SOURCES = (
    "secretNameParameter",
    "configMapNameParameter",
    "pvcNameParameter",
    "nodeSelectorJson",
    "tolerationJson",
)


def parse(document: Json, platform: Json) -> Spec:
    """The checked spec of an IR and its PlatformSpec (empty if there is none).

    Raises:
        InvalidSpec: something in them is wrong; the text says what.
    """
    if not document:
        raise InvalidSpec("the pipeline spec is empty; compile the pipeline and submit its file")
    version = document.get("schemaVersion")
    if version != SCHEMA_VERSION:
        raise InvalidSpec(
            f"schemaVersion must be {SCHEMA_VERSION}, but got {version!r}; "
            "compile the pipeline with kfp 2"
        )
    messages.check("PipelineSpec", document, "the pipeline spec")
    info = document.get("pipelineInfo") or {}
    name = info.get("name") or ""
    if not _NAME.fullmatch(name):
        raise InvalidSpec(f"pipelineInfo.name must match {_NAME.pattern}, but got {name!r}")
    executors = (document.get("deploymentSpec") or {}).get("executors") or {}
    components = {
        key: _component(key, value, executors)
        for key, value in (document.get("components") or {}).items()
    }
    root = _root(document, components, executors)
    kubernetes = _kubernetes(platform)
    sources = {label: tuple(_setting_sources(each)) for label, each in kubernetes.items()}
    tasks = graph.check(root, components, sources)
    return Spec(
        name=name,
        display_name=info.get("displayName") or name,
        description=info.get("description") or "",
        root=root,
        components=components,
        default_root=document.get("defaultPipelineRoot") or "",
        kubernetes=kubernetes,
        document=document,
        platform_document=platform,
        tasks=tasks,
    )


def _root(document: Json, components: Mapping[str, Component], executors: Json) -> Component:
    if not document.get("root"):
        raise InvalidSpec("the pipeline has no root; compile it with kfp 2")
    root = _component("root", document["root"], executors)
    if not isinstance(root.body, Dag):
        raise InvalidSpec("the root must be a dag of tasks; compile the pipeline with kfp 2")
    if "root" in components:
        raise InvalidSpec("a component may not be called 'root', as the pipeline itself is")
    return root


def _kubernetes(platform: Json) -> Mapping[str, Json]:
    """The settings of each executor; other platforms than Kubernetes are none of ours."""
    messages.check("PlatformSpec", platform, "the platform spec")
    settings = (platform.get("platforms") or {}).get("kubernetes") or {}
    messages.check("KubernetesPlatform", settings, "the platform kubernetes")
    if pipeline := settings.get("pipelineConfig"):
        raise InvalidSpec(
            f"pipelineConfig {sorted(pipeline)} is not supported yet; remove it from the pipeline"
        )
    executors = (settings.get("deploymentSpec") or {}).get("executors") or {}
    return {
        label: {key: value for key, value in each.items() if value is not None}
        for label, each in executors.items()
    }


def _setting_sources(settings: Json) -> Iterates[Source]:
    for value in settings.values():
        for entry in value if isinstance(value, list) else [value]:
            if isinstance(entry, Mapping):
                given = [entry[key] for key in _SETTING_SOURCES if entry.get(key)]
                for source in given:
                    yield read_input(source, "a Kubernetes setting").source
    for mount in settings.get("pvcMount", ()):
        if mount.get("taskOutputParameter") or mount.get("componentInputParameter"):
            yield read_input(mount, "pvcMount").source


def _component(name: str, value: Json, executors: Json) -> Component:
    where = f"component {name!r}"
    inputs = value.get("inputDefinitions") or {}
    outputs = value.get("outputDefinitions") or {}
    if value.get("taskConfigPassthroughs"):
        raise InvalidSpec(f"{where}: taskConfigPassthroughs is not supported yet; remove it")
    label = value.get("executorLabel") or ""
    body: Dag | Container | Importer | Claim
    if value.get("dag") is not None:
        body = _dag(name, value["dag"])
    elif label:
        if label not in executors:
            raise InvalidSpec(f"{where} names executor {label!r}, which deploymentSpec lacks")
        body = _executor(label, executors[label])
    else:
        raise InvalidSpec(f"{where} must have a dag or an executorLabel, but has neither")
    component = Component(
        name=name,
        parameters=_parameter_defs(inputs, where, is_root=name == "root"),
        artifacts=_artifact_defs(inputs, where),
        output_parameters=_parameter_defs(outputs, where),
        output_artifacts=_artifact_defs(outputs, where),
        body=body,
        executor=label,
    )
    if not isinstance(body, Dag):
        for output in (*component.output_parameters, *component.output_artifacts):
            _check_place(output, f"an output of {where}")
    return component


def _check_place(name: str, where: str) -> None:
    if not _PLACE.fullmatch(name):
        raise InvalidSpec(
            f"the name of {where} must be letters, digits, '-' and '_' (at most 100), as it "
            f"becomes a file's, but got {name!r}"
        )


def _parameter_defs(
    definitions: Json, where: str, *, is_root: bool = False
) -> Mapping[str, ParameterDef]:
    result = {}
    for name, value in (definitions.get("parameters") or {}).items():
        type_ = value.get("parameterType")
        if type_ not in ParameterType.__members__:
            raise InvalidSpec(
                f"parameter {name!r} of {where} must have a parameterType of "
                f"{list(ParameterType.__members__)}, but got {type_!r}"
            )
        has_default = value.get("defaultValue") is not None
        result[name] = ParameterDef(
            type=ParameterType(type_),
            optional=bool(value.get("isOptional"))
            or has_default
            or (is_root and items.may_leak(name)),
            has_default=has_default,
            default=normalize(value.get("defaultValue")),
            literals=tuple(normalize(item) for item in value.get("literals") or ()),
        )
    return result


def _artifact_defs(definitions: Json, where: str) -> Mapping[str, ArtifactDef]:
    result = {}
    for name, value in (definitions.get("artifacts") or {}).items():
        type_, version = _type(value.get("artifactType") or {})
        result[name] = ArtifactDef(
            type=type_,
            version=version,
            is_list=bool(value.get("isArtifactList")),
            optional=bool(value.get("isOptional")),
        )
    return result


def _type(schema: Json) -> tuple[str, str]:
    return schema.get("schemaTitle") or "system.Artifact", schema.get("schemaVersion") or "0.0.1"


def _executor(label: str, value: Json) -> Container | Importer | Claim:
    where = f"executor {label!r}"
    if value.get("container") is not None:
        return _container(value["container"], where)
    if value.get("importer") is not None:
        return _importer(value["importer"], where)
    raise InvalidSpec(
        f"{where} must be a container or an importer, but is {sorted(value)}: "
        "resolvers and custom jobs exist only on Vertex AI"
    )


def _container(value: Json, where: str) -> Container | Claim:
    image = value.get("image")
    if not image:
        raise InvalidSpec(f"{where} must name an image, but got {image!r}")
    if image in _CLAIMS:
        return _CLAIMS[image]
    return Container(
        image=image,
        command=tuple(value.get("command") or ()),
        args=tuple(value.get("args") or ()),
        env=tuple(
            (entry.get("name") or "", entry.get("value") or "") for entry in value.get("env") or ()
        ),
        resources=value.get("resources") or {},
    )


def _importer(value: Json, where: str) -> Importer:
    source = _runtime_value(value.get("artifactUri") or {}, f"artifactUri of {where}")
    uri = source.value if isinstance(source, Constant) else ""
    if not isinstance(uri, str):
        raise InvalidSpec(f"the artifactUri of {where} must be a text, but got {shorten(uri)}")
    if value.get("downloadToWorkspace"):
        raise InvalidSpec(f"{where}: downloadToWorkspace is not supported yet; remove it")
    type_, version = _type(value.get("typeSchema") or {})
    return Importer(
        uri=uri,
        uri_parameter=source.name if isinstance(source, DagInput) else "",
        type=type_,
        version=version,
        metadata=value.get("metadata") or {},
        reimport=bool(value.get("reimport")),
    )


def _dag(name: str, value: Json) -> Dag:
    tasks = {key: _task(key, task) for key, task in (value.get("tasks") or {}).items()}
    outputs = value.get("outputs") or {}
    parameters = {
        key: _parameter_selectors(selected, f"output {key!r} of component {name!r}")
        for key, selected in (outputs.get("parameters") or {}).items()
    }
    artifacts = {
        key: tuple(
            TaskOutput(entry.get("producerSubtask") or "", entry.get("outputArtifactKey") or "")
            for entry in selected.get("artifactSelectors") or ()
        )
        for key, selected in (outputs.get("artifacts") or {}).items()
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
        TaskOutput(entry.get("producerSubtask") or "", entry.get("outputParameterKey") or "")
        for entry in selectors
    )


def _task(name: str, value: Json) -> TaskSpec:
    where = f"task {name!r}"
    _check_place(name, where)
    inputs = value.get("inputs") or {}
    parameters = {
        key: read_input(given, f"input {key!r} of {where}")
        for key, given in (inputs.get("parameters") or {}).items()
    }
    artifacts = {
        key: _artifact_input(given, f"input {key!r} of {where}")
        for key, given in (inputs.get("artifacts") or {}).items()
    }
    sources = [item.source for item in parameters.values()] + list(artifacts.values())
    producers = {item.task for item in sources if isinstance(item, TaskOutput | FinalStatus)}
    caching = value.get("cachingOptions") or {}
    return TaskSpec(
        name=name,
        display_name=(value.get("taskInfo") or {}).get("name") or name,
        component=(value.get("componentRef") or {}).get("name") or "",
        parameters=parameters,
        artifacts=artifacts,
        depends=frozenset(producers | set(value.get("dependentTasks") or ())),
        condition=_condition(value.get("triggerPolicy") or {}, where),
        always=_runs_always(value.get("triggerPolicy") or {}, where),
        iterator=_iterator(value, where, {*parameters, *artifacts}),
        parallelism=int((value.get("iteratorPolicy") or {}).get("parallelismLimit") or 0),
        retry=_retry(value.get("retryPolicy") or {}),
        cache=bool(caching.get("enableCache")),
        cache_key=caching.get("cacheKey") or "",
    )


def _condition(trigger: Json, where: str) -> conditions.Expression | None:
    text = trigger.get("condition")
    if not text:
        return None
    try:
        return conditions.parse(text)
    except conditions.InvalidCondition as error:
        raise InvalidSpec(f"the condition of {where} is invalid: {error}") from None


def _runs_always(trigger: Json, where: str) -> bool:
    strategy = trigger.get("strategy") or ""
    if strategy not in _STRATEGIES:
        raise InvalidSpec(
            f"the strategy of {where} must be one of {list(_STRATEGIES[1:])}, but got {strategy!r}"
        )
    return bool(strategy == _ALWAYS)


def read_input(value: Json, where: str) -> ParameterInput:
    """An InputParameterSpec as a noun.

    Raises:
        InvalidSpec: it has no source that we know, or an unknown selector.
    """
    source: Source
    if output := value.get("taskOutputParameter"):
        source = TaskOutput(
            output.get("producerTask") or "", output.get("outputParameterKey") or ""
        )
    elif value.get("runtimeValue") is not None:
        source = _runtime_value(value["runtimeValue"], where)
    elif name := value.get("componentInputParameter"):
        source = DagInput(name)
    elif status := value.get("taskFinalStatus"):
        source = FinalStatus(status.get("producerTask") or "")
    else:
        raise InvalidSpec(f"{where} has no source that we know: {sorted(value)}")
    selector = value.get("parameterExpressionSelector")
    if not selector:
        return ParameterInput(source)
    match = _FIELD.fullmatch(selector)
    if match is None:
        raise InvalidSpec(
            f'{where}: the selector must be parseJson(string_value)["key"], but got {selector!r}'
        )
    return ParameterInput(source, match["name"])


def _runtime_value(value: Json, where: str) -> Constant | DagInput:
    if name := value.get("runtimeParameter"):
        return DagInput(name)
    if value.get("constantValue"):  # the deprecated Value of proto: {"stringValue": ...}
        return Constant(normalize(next(iter(value["constantValue"].values()))))
    if "constant" not in value:
        raise InvalidSpec(f"{where} must have a constant, but got {dict(value)}")
    return Constant(normalize(value["constant"]))


def _artifact_input(value: Json, where: str) -> TaskOutput | DagInput:
    if output := value.get("taskOutputArtifact"):
        return TaskOutput(output.get("producerTask") or "", output.get("outputArtifactKey") or "")
    if name := value.get("componentInputArtifact"):
        return DagInput(name)
    raise InvalidSpec(f"{where} has no source that we know: {sorted(value)}")


def _iterator(value: Json, where: str, inputs: set[str]) -> Iterator | None:
    spec = value.get("parameterIterator") or value.get("artifactIterator")
    if spec is None:
        return None
    items, item_input = spec.get("items") or {}, spec.get("itemInput") or ""
    given = items.get("inputParameter") or items.get("inputArtifact") or ""
    if not item_input or not (given or items.get("raw")):
        raise InvalidSpec(f"the iterator of {where} must have items and itemInput, but got {spec}")
    if item_input in inputs:
        raise InvalidSpec(f"{item_input!r} of {where} can't be a loop's item and an input as well")
    return Iterator(
        item_input,
        raw=items.get("raw"),
        parameter=items.get("inputParameter") or "",
        artifact=items.get("inputArtifact") or "",
    )


def _retry(value: Json) -> Retry | None:
    limit = int(value.get("maxRetryCount") or 0)
    if not limit:
        return None
    return Retry(
        limit=limit,
        backoff=_seconds(value.get("backoffDuration") or "0s"),
        factor=float(value.get("backoffFactor") or 2.0),
        window=_seconds(value.get("backoffMaxDuration") or "3600s"),
    )


def _seconds(duration: str) -> float:
    """A protobuf Duration in JSON: "1.5s"."""
    return float(duration.removesuffix("s"))
