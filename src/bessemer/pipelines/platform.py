"""A task's Kubernetes settings: read from the PlatformSpec, then written into its pod. Pure.

Their shape was proven when the pipeline was read (``spec.messages``).
Source: kubernetes_platform/proto/kubernetes_executor_config.proto; backend/src/v2/driver/k8s.go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from bessemer.base.errors import BessemerError
from bessemer.kinds.kind import Object
from bessemer.pipelines.spec import read_input
from bessemer.pipelines.spec.model import ParameterInput
from bessemer.pipelines.types import shorten

Json = Mapping[str, Any]
#: Gives the value of an input of the enclosing DAG's tasks.
GetValue = Callable[[ParameterInput], Any]


class InvalidSetting(BessemerError):
    """A Kubernetes setting that can't be used as it is."""


class _NameFields(NamedTuple):
    """Where a setting names an object."""

    by_parameter: str
    by_text: str


_SECRET = _NameFields("secretNameParameter", "secretName")
_CONFIG_MAP = _NameFields("configMapNameParameter", "configMapName")
# By the field of the setting.
_NAMES = {
    "secretAsVolume": _SECRET,
    "secretAsEnv": _SECRET,
    "configMapAsVolume": _CONFIG_MAP,
    "configMapAsEnv": _CONFIG_MAP,
    "imagePullSecret": _SECRET,
    "pvcMount": _NameFields("pvcNameParameter", "constant"),
}


def resolve(settings: Json, get: GetValue) -> dict[str, Any]:
    """The settings with every name and JSON that a parameter gives filled in (as ``name``).

    What a parameter without a value would give is left out, as upstream.

    Raises:
        InvalidSetting: a name is none, or a JSON of another shape.
    """
    result = dict(settings)
    for kind, fields in _NAMES.items():
        if kind in settings:
            named = [(entry, _name(kind, entry, fields, get)) for entry in settings[kind]]
            result[kind] = [{**entry, "name": name} for entry, name in named if name is not None]
    if "tolerations" in settings:
        result["tolerations"] = _tolerations_of(settings["tolerations"], get)
    if "nodeSelector" in settings:
        result["nodeSelector"] = _node_selector_of(settings["nodeSelector"], get)
    return result


def _name(kind: str, entry: Json, fields: _NameFields, get: GetValue) -> str | None:
    by_parameter, by_text = fields
    source = entry.get(by_parameter)
    if kind == "pvcMount" and not source and not entry.get(by_text):
        source = entry  # the deprecated form has the source inline
    name = get(read_input(source, kind)) if source else entry.get(by_text, "")
    if name is None:
        return None
    if not isinstance(name, str) or not name:
        raise InvalidSetting(f"{kind} needs the name of an object, but got {name!r}")
    return name


def _tolerations_of(value: Any, get: GetValue) -> list[Json]:
    result: list[Json] = []
    for entry in value:
        given: Any = _as_whole(entry, "tolerationSeconds")
        if entry.get("tolerationJson"):  # one, or a list of them
            given = get(read_input(entry["tolerationJson"], "tolerationJson")) or []
        result += given if isinstance(given, list) else [given]
    if not all(isinstance(entry, Mapping) for entry in result):
        raise InvalidSetting(f"tolerations must be JSON objects, but got {shorten(result)}")
    return result


def _node_selector_of(value: Json, get: GetValue) -> Json:
    labels: Any = value.get("labels") or {}
    if value.get("nodeSelectorJson"):
        labels = get(read_input(value["nodeSelectorJson"], "nodeSelectorJson")) or {}
    if not isinstance(labels, Mapping):
        raise InvalidSetting(f"nodeSelectorJson must be a JSON object, but got {shorten(labels)}")
    return labels


def apply(settings: Json, pod: Object) -> None:
    """Write resolved settings into a pod (in place) with one container."""
    for kind, value in settings.items():
        _WRITERS[kind](value, pod)


def _add_env(pod: Object, name: str, source: Json) -> None:
    pod["spec"]["containers"][0].setdefault("env", []).append({"name": name, "valueFrom": source})


def _add_volume(pod: Object, source: Json, mount: Json, name: str = "") -> None:
    """Mount a volume: a new one of that name, or without a name one of that source."""
    volumes = pod["spec"].setdefault("volumes", [])
    same = [volume["name"] for volume in volumes if volume == {"name": volume["name"], **source}]
    if same and not name:
        name = same[0]
    else:
        name = name or f"volume-{len(volumes)}"
        volumes.append({"name": name, **source})
    mounts = pod["spec"]["containers"][0].setdefault("volumeMounts", [])
    mounts.append({"name": name, **mount})


def _secret_volumes(value: Any, pod: Object) -> None:
    for entry in value:
        source = {"secretName": entry["name"], "optional": bool(entry.get("optional"))}
        _add_volume(pod, {"secret": source}, {"mountPath": entry["mountPath"], "readOnly": True})


def _config_map_volumes(value: Any, pod: Object) -> None:
    for entry in value:
        source = {"name": entry["name"], "optional": bool(entry.get("optional"))}
        _add_volume(
            pod, {"configMap": source}, {"mountPath": entry["mountPath"], "readOnly": True}
        )


def _env_from(reference: str, key: str) -> Callable[[Any, Object], None]:
    def write(value: Any, pod: Object) -> None:
        for entry in value:
            for pair in entry.get("keyToEnv") or ():
                source = {
                    "name": entry["name"],
                    "key": pair[key],
                    "optional": bool(entry.get("optional")),
                }
                _add_env(pod, pair["envVar"], {reference: source})

    return write


def _claims(value: Any, pod: Object) -> None:
    for entry in value:
        mount = {"mountPath": entry["mountPath"]}
        if entry.get("subPath"):
            mount["subPath"] = entry["subPath"]
        source = {"persistentVolumeClaim": {"claimName": entry["name"]}}
        _add_volume(pod, source, mount)


def _empty_dirs(value: Any, pod: Object) -> None:
    for entry in value:
        source = {key: entry[key] for key in ("medium", "sizeLimit") if entry.get(key)}
        _add_volume(
            pod, {"emptyDir": source}, {"mountPath": entry["mountPath"]}, entry["volumeName"]
        )


def _ephemeral(value: Any, pod: Object) -> None:
    for entry in value:
        claim: Object = {
            "accessModes": entry.get("accessModes") or ["ReadWriteOnce"],
            "resources": {"requests": {"storage": entry.get("size") or "1Gi"}},
        }
        if not entry.get("defaultStorageClass") and entry.get("storageClassName"):
            claim["storageClassName"] = entry["storageClassName"]
        template = {"metadata": dict(entry.get("metadata") or {}), "spec": claim}
        _add_volume(
            pod,
            {"ephemeral": {"volumeClaimTemplate": template}},
            {"mountPath": entry["mountPath"]},
            entry["volumeName"],
        )


def _shared_memory(value: Json, pod: Object) -> None:
    source = {"medium": "Memory"}
    if value.get("size"):
        source["sizeLimit"] = value["size"]
    name = value.get("volumeName") or "shm"
    _add_volume(pod, {"emptyDir": source}, {"mountPath": "/dev/shm"}, name)


def _pod_metadata(value: Json, pod: Object) -> None:
    for key in ("labels", "annotations"):
        # Ours win: the engine finds its pods by them.
        own = pod["metadata"].get(key) or {}
        pod["metadata"][key] = {**(value.get(key) or {}), **own}


def _node_selector(value: Json, pod: Object) -> None:
    pod["spec"]["nodeSelector"] = dict(value)


def _tolerations(value: Any, pod: Object) -> None:
    pod["spec"]["tolerations"] = [dict(entry) for entry in value]


def _as_whole(value: Json, *fields: str) -> Object:
    """A copy of what is given, those fields as numbers: protobuf writes an int64 as a text."""
    given = {key: item for key, item in value.items() if item is not None}
    return {key: int(item) if key in fields else item for key, item in given.items()}


def _pull_policy(value: str, pod: Object) -> None:
    pod["spec"]["containers"][0]["imagePullPolicy"] = value


def _pull_secrets(value: Any, pod: Object) -> None:
    pod["spec"]["imagePullSecrets"] = [{"name": entry["name"]} for entry in value]


def _deadline(value: Any, pod: Object) -> None:
    if seconds := int(value):  # 0 is no timeout
        pod["spec"]["activeDeadlineSeconds"] = seconds


def _field_paths(value: Any, pod: Object) -> None:
    for entry in value:
        _add_env(pod, entry["name"], {"fieldRef": {"fieldPath": entry["fieldPath"]}})


def _security(value: Json, pod: Object) -> None:
    context = _as_whole(value, "runAsUser", "runAsGroup")
    pod["spec"]["containers"][0]["securityContext"] = context


_WRITERS: Mapping[str, Callable[[Any, Object], None]] = {
    "secretAsVolume": _secret_volumes,
    "secretAsEnv": _env_from("secretKeyRef", "secretKey"),
    "configMapAsVolume": _config_map_volumes,
    "configMapAsEnv": _env_from("configMapKeyRef", "configMapKey"),
    "pvcMount": _claims,
    "emptyDirMounts": _empty_dirs,
    "genericEphemeralVolume": _ephemeral,
    "enabledSharedMemory": _shared_memory,
    "podMetadata": _pod_metadata,
    "nodeSelector": _node_selector,
    "tolerations": _tolerations,
    "imagePullPolicy": _pull_policy,
    "imagePullSecret": _pull_secrets,
    "activeDeadlineSeconds": _deadline,
    "fieldPathAsEnv": _field_paths,
    "securityContext": _security,
}
