"""Which fields the IR's messages have, and what may stand in each: checked once, then trusted.

A kind is a scalar's word, a message's name, or a list or map of one of these. As in protobuf's
JSON mapping, null is an absent field, whole numbers may be texts, and a field that the message
lacks is refused. Source: api/v2alpha1/pipeline_spec.proto and
kubernetes_platform/proto/kubernetes_executor_config.proto; PlatformSpec has only what we can do.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bessemer.pipelines import types
from bessemer.pipelines.spec.model import InvalidSpec


@dataclass(frozen=True, slots=True)
class Many:
    """A JSON array, each item of that kind."""

    of: str


@dataclass(frozen=True, slots=True)
class Named:
    """A JSON object with any keys, each value of that kind."""

    of: str


Kind = str | Many | Named
_OPTIONAL_NAME: Mapping[str, Kind] = {"optional": "flag", "mountPath": "text"}
_OUTPUT: Mapping[str, Kind] = {"producerTask": "text", "outputParameterKey": "text"}
_TYPE = "ArtifactTypeSchema"

MESSAGES: Mapping[str, Mapping[str, Kind]] = {
    "PipelineSpec": {
        "pipelineInfo": "PipelineInfo",
        "deploymentSpec": "DeploymentSpec",
        "sdkVersion": "text",
        "schemaVersion": "text",
        "components": Named("ComponentSpec"),
        "root": "ComponentSpec",
        "defaultPipelineRoot": "text",
    },
    "PipelineInfo": {"name": "text", "displayName": "text", "description": "text"},
    "DeploymentSpec": {"executors": Named("ExecutorSpec")},
    "ComponentSpec": {
        "inputDefinitions": "InputDefinitions",
        "outputDefinitions": "OutputDefinitions",
        "dag": "DagSpec",
        "executorLabel": "text",
        "singlePlatformSpecs": Many("object"),
        "taskConfigPassthroughs": Many("object"),
    },
    "InputDefinitions": {
        "parameters": Named("InputParameterDefinition"),
        "artifacts": Named("InputArtifactDefinition"),
    },
    "InputParameterDefinition": {
        "type": "text",
        "parameterType": "text",
        "defaultValue": "any",
        "isOptional": "flag",
        "description": "text",
        "literals": Many("any"),
    },
    "InputArtifactDefinition": {
        "artifactType": _TYPE,
        "isArtifactList": "flag",
        "isOptional": "flag",
        "description": "text",
    },
    "OutputDefinitions": {
        "parameters": Named("OutputParameterDefinition"),
        "artifacts": Named("OutputArtifactDefinition"),
    },
    "OutputParameterDefinition": {
        "type": "text",
        "parameterType": "text",
        "description": "text",
    },
    "OutputArtifactDefinition": {
        "artifactType": _TYPE,
        "properties": "object",
        "customProperties": "object",
        "metadata": "object",
        "isArtifactList": "flag",
        "description": "text",
    },
    _TYPE: {
        "schemaTitle": "text",
        "schemaUri": "text",
        "instanceSchema": "text",
        "schemaVersion": "text",
    },
    "DagSpec": {"tasks": Named("PipelineTaskSpec"), "outputs": "DagOutputsSpec"},
    "DagOutputsSpec": {
        "parameters": Named("DagOutputParameter"),
        "artifacts": Named("DagOutputArtifact"),
    },
    "DagOutputParameter": {
        "valueFromParameter": "ParameterSelector",
        "valueFromOneof": "ParameterSelectors",
    },
    "ParameterSelectors": {"parameterSelectors": Many("ParameterSelector")},
    "ParameterSelector": {"producerSubtask": "text", "outputParameterKey": "text"},
    "DagOutputArtifact": {"artifactSelectors": Many("ArtifactSelector")},
    "ArtifactSelector": {"producerSubtask": "text", "outputArtifactKey": "text"},
    "PipelineTaskSpec": {
        "taskInfo": "TaskInfo",
        "inputs": "TaskInputsSpec",
        "dependentTasks": Many("text"),
        "cachingOptions": "CachingOptions",
        "componentRef": "ComponentRef",
        "triggerPolicy": "TriggerPolicy",
        "artifactIterator": "ArtifactIterator",
        "parameterIterator": "ParameterIterator",
        "retryPolicy": "RetryPolicy",
        "iteratorPolicy": "IteratorPolicy",
    },
    "TaskInfo": {"name": "text"},
    "ComponentRef": {"name": "text"},
    "CachingOptions": {"enableCache": "flag", "cacheKey": "text"},
    "TriggerPolicy": {"condition": "text", "strategy": "text"},
    "ArtifactIterator": {"items": "ArtifactItems", "itemInput": "text"},
    "ArtifactItems": {"inputArtifact": "text"},
    "ParameterIterator": {"items": "ParameterItems", "itemInput": "text"},
    "ParameterItems": {"raw": "text", "inputParameter": "text"},
    "RetryPolicy": {
        "maxRetryCount": "count",
        "backoffDuration": "duration",
        "backoffFactor": "number",
        "backoffMaxDuration": "duration",
    },
    "IteratorPolicy": {"parallelismLimit": "count"},
    "TaskInputsSpec": {
        "parameters": Named("InputParameter"),
        "artifacts": Named("InputArtifact"),
    },
    "InputParameter": {
        "taskOutputParameter": "TaskOutputParameter",
        "runtimeValue": "ValueOrRuntimeParameter",
        "componentInputParameter": "text",
        "taskFinalStatus": "TaskFinalStatus",
        "parameterExpressionSelector": "text",
    },
    "TaskOutputParameter": _OUTPUT,
    "TaskFinalStatus": {"producerTask": "text"},
    "InputArtifact": {
        "taskOutputArtifact": "TaskOutputArtifact",
        "componentInputArtifact": "text",
    },
    "TaskOutputArtifact": {"producerTask": "text", "outputArtifactKey": "text"},
    "ValueOrRuntimeParameter": {
        "constant": "any",
        "constantValue": "Value",
        "runtimeParameter": "text",
    },
    "Value": {"intValue": "any", "doubleValue": "any", "stringValue": "text"},
    "ExecutorSpec": {
        "container": "ContainerSpec",
        "importer": "ImporterSpec",
        "resolver": "object",
        "customJob": "object",
    },
    "ContainerSpec": {
        "image": "text",
        "command": Many("text"),
        "args": Many("text"),
        "lifecycle": "object",
        "resources": "ResourceSpec",
        "env": Many("EnvVar"),
    },
    "EnvVar": {"name": "text", "value": "text"},
    "ResourceSpec": {
        "cpuLimit": "number",
        "memoryLimit": "number",
        "cpuRequest": "number",
        "memoryRequest": "number",
        "resourceCpuLimit": "text",
        "resourceMemoryLimit": "text",
        "resourceCpuRequest": "text",
        "resourceMemoryRequest": "text",
        "accelerator": "Accelerator",
    },
    "Accelerator": {
        "type": "text",
        "count": "count",
        "resourceType": "text",
        "resourceCount": "text",
    },
    "ImporterSpec": {
        "artifactUri": "ValueOrRuntimeParameter",
        "typeSchema": _TYPE,
        "properties": "object",
        "customProperties": "object",
        "reimport": "flag",
        "metadata": "object",
        "downloadToWorkspace": "flag",
    },
    "PlatformSpec": {"platforms": Named("object")},
    "KubernetesPlatform": {
        "deploymentSpec": "KubernetesDeployment",
        "platform": "text",
        "config": "object",
        "pipelineConfig": "object",
    },
    "KubernetesDeployment": {"executors": Named("KubernetesSettings")},
    # ``pipelines.platform`` writes each into the pod.
    "KubernetesSettings": {
        "secretAsVolume": Many("SecretAsVolume"),
        "secretAsEnv": Many("SecretAsEnv"),
        "configMapAsVolume": Many("ConfigMapAsVolume"),
        "configMapAsEnv": Many("ConfigMapAsEnv"),
        "pvcMount": Many("PvcMount"),
        "emptyDirMounts": Many("EmptyDirMount"),
        "genericEphemeralVolume": Many("GenericEphemeralVolume"),
        "enabledSharedMemory": "EnabledSharedMemory",
        "podMetadata": "PodMetadata",
        "nodeSelector": "NodeSelector",
        "tolerations": Many("Toleration"),
        "imagePullPolicy": "text",
        "imagePullSecret": Many("ImagePullSecret"),
        "activeDeadlineSeconds": "count",
        "fieldPathAsEnv": Many("FieldPathAsEnv"),
        "securityContext": "SecurityContext",
    },
    "SecretAsVolume": {
        "secretName": "text",
        "secretNameParameter": "InputParameter",
        **_OPTIONAL_NAME,
    },
    "SecretAsEnv": {
        "secretName": "text",
        "secretNameParameter": "InputParameter",
        "keyToEnv": Many("SecretKeyToEnv"),
        "optional": "flag",
    },
    "SecretKeyToEnv": {"secretKey": "text", "envVar": "text"},
    "ConfigMapAsVolume": {
        "configMapName": "text",
        "configMapNameParameter": "InputParameter",
        **_OPTIONAL_NAME,
    },
    "ConfigMapAsEnv": {
        "configMapName": "text",
        "configMapNameParameter": "InputParameter",
        "keyToEnv": Many("ConfigMapKeyToEnv"),
        "optional": "flag",
    },
    "ConfigMapKeyToEnv": {"configMapKey": "text", "envVar": "text"},
    "PvcMount": {
        "taskOutputParameter": "TaskOutputParameter",
        "constant": "text",
        "componentInputParameter": "text",
        "pvcNameParameter": "InputParameter",
        "mountPath": "text",
        "subPath": "text",
    },
    "EmptyDirMount": {
        "volumeName": "text",
        "mountPath": "text",
        "medium": "text",
        "sizeLimit": "text",
    },
    "GenericEphemeralVolume": {
        "volumeName": "text",
        "mountPath": "text",
        "accessModes": Many("text"),
        "size": "text",
        "defaultStorageClass": "flag",
        "storageClassName": "text",
        "metadata": "PodMetadata",
    },
    "EnabledSharedMemory": {"volumeName": "text", "size": "text"},
    "PodMetadata": {"labels": Named("text"), "annotations": Named("text")},
    "NodeSelector": {"labels": Named("text"), "nodeSelectorJson": "InputParameter"},
    "Toleration": {
        "key": "text",
        "operator": "text",
        "value": "text",
        "effect": "text",
        "tolerationSeconds": "count",
        "tolerationJson": "InputParameter",
    },
    "ImagePullSecret": {"secretName": "text", "secretNameParameter": "InputParameter"},
    "FieldPathAsEnv": {"name": "text", "fieldPath": "text"},
    "SecurityContext": {"runAsUser": "count", "runAsGroup": "count", "runAsNonRoot": "flag"},
}

# Of each group at most one field may be there.
_ONE_OF: Mapping[str, frozenset[str]] = {
    "ComponentSpec": frozenset({"dag", "executorLabel"}),
    "ExecutorSpec": frozenset({"container", "importer", "resolver", "customJob"}),
    "PipelineTaskSpec": frozenset({"artifactIterator", "parameterIterator"}),
    "ParameterItems": frozenset({"raw", "inputParameter"}),
    "DagOutputParameter": frozenset({"valueFromParameter", "valueFromOneof"}),
    "InputParameter": frozenset(
        {"taskOutputParameter", "runtimeValue", "componentInputParameter", "taskFinalStatus"}
    ),
    "InputArtifact": frozenset({"taskOutputArtifact", "componentInputArtifact"}),
    "ValueOrRuntimeParameter": frozenset({"constant", "constantValue", "runtimeParameter"}),
}
# What must be there, where leaving it out makes no sense.
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "EnvVar": ("name",),
    "SecretAsVolume": ("mountPath",),
    "SecretKeyToEnv": ("secretKey", "envVar"),
    "ConfigMapAsVolume": ("mountPath",),
    "ConfigMapKeyToEnv": ("configMapKey", "envVar"),
    "PvcMount": ("mountPath",),
    "EmptyDirMount": ("volumeName", "mountPath"),
    "GenericEphemeralVolume": ("volumeName", "mountPath"),
    "FieldPathAsEnv": ("name", "fieldPath"),
}
_NONE: frozenset[str] = frozenset()
_DURATION = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?s")
_MOST = 2**63 - 1


def _is_count(value: Any) -> bool:
    if isinstance(value, str):
        return re.fullmatch("[0-9]{1,19}", value) is not None and int(value) <= _MOST
    return _is_number(value) and value == int(value) and value <= _MOST


def _is_number(value: Any) -> bool:
    """Whether it is a number that makes sense: nothing in the IR is less than zero."""
    is_any = isinstance(value, int | float) and not isinstance(value, bool)
    return is_any and 0 <= value <= _MOST and math.isfinite(value)


_SCALARS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "text": ("a text", lambda value: isinstance(value, str)),
    "flag": ("true or false", lambda value: isinstance(value, bool)),
    "count": ("a whole number from 0 to 2^63", _is_count),
    "number": ("a number from 0 to 2^63", _is_number),
    "duration": (
        "a number of seconds like '60s'",
        lambda value: isinstance(value, str) and _DURATION.fullmatch(value) is not None,
    ),
    "object": ("a mapping", lambda value: isinstance(value, Mapping)),
    "any": ("a JSON value", lambda _: True),
}


class _MisfitError(Exception):
    """What is wrong; on its way up it learns where."""

    def __init__(self, words: str) -> None:
        self.words = words
        self.path = ""


def check(kind: Kind, value: Any, where: str) -> None:
    """Check that a value is of that kind, all the way down.

    Raises:
        InvalidSpec: something in it is not; the text says where.
    """
    try:
        _check(kind, value)
    except _MisfitError as misfit:
        raise InvalidSpec(f"{where}{misfit.path} {misfit.words}") from None


def _check(kind: Kind, value: Any) -> None:
    if isinstance(kind, Many):
        if not isinstance(value, list):
            raise _MisfitError(f"must be a list, but got {types.shorten(value)}")
        _check_all(kind.of, enumerate(value))
    elif isinstance(kind, Named):
        _check_all(kind.of, _as_mapping(value).items())
    elif kind in _SCALARS:
        word, fits = _SCALARS[kind]
        if not fits(value):
            raise _MisfitError(f"must be {word}, but got {types.shorten(value)}")
        is_plain = isinstance(value, str) and value.isascii()
        if fault := "" if is_plain else types.find_fault(value):
            raise _MisfitError(f"must be JSON, but {fault}")
    else:
        _check_message(kind, _as_mapping(value))


def _check_all(kind: Kind, items: Iterable[tuple[Any, Any]]) -> None:
    for key, item in items:
        try:
            _check(kind, item)
        except _MisfitError as misfit:
            misfit.path = f"[{key!r}]{misfit.path}"
            raise


def _check_message(name: str, value: Mapping[str, Any]) -> None:
    fields = MESSAGES[name]
    present = {key: item for key, item in value.items() if item is not None}
    if unknown := sorted(present.keys() - fields.keys()):
        raise _MisfitError(
            f"has fields that are unknown, or not supported yet: {unknown}; it may have "
            f"{sorted(fields)}"
        )
    several = sorted(_ONE_OF.get(name, _NONE) & present.keys())
    if len(several) > 1:
        raise _MisfitError(f"must have only one of {several}; remove the others")
    if missing := [key for key in _NEEDED.get(name, ()) if not present.get(key)]:
        raise _MisfitError(f"must have {missing}, but got {types.shorten(present)}")
    for key, item in present.items():
        try:
            _check(fields[key], item)
        except _MisfitError as misfit:
            misfit.path = f".{key}{misfit.path}"
            raise


def _as_mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _MisfitError(f"must be a mapping, but got {types.shorten(value)}")
    for key in value:
        if not isinstance(key, str) or not (key.isascii() or not types.find_fault(key)):
            raise _MisfitError(f"must have texts as keys, but got {key!r}; quote it")
    return value
