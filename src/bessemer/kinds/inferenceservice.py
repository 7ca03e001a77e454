"""InferenceService: a model that answers requests.

Source: kserve pkg/apis/serving/v1beta1 (component.go, podspec.go, predictor.go: the fields;
defaults of the old per-framework forms; validation) and config/crd's printer columns. What we
don't do yet is refused by name; what KServe's Standard mode ignores is taken and ignored too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bessemer.kinds import meta
from bessemer.kinds.kind import Cause, Column, Kind, Object
from bessemer.kinds.rules import bad, is_whole, required, unsupported

FORMATS = ("sklearn", "xgboost")
# Of the predictor, written into its pods as they are: whether a pod may have them is said where
# pods are admitted.
POD_FIELDS: Mapping[str, type] = {
    "affinity": dict,
    "automountServiceAccountToken": bool,
    "imagePullSecrets": list,
    "nodeSelector": dict,
    "priorityClassName": str,
    "securityContext": dict,
    "serviceAccountName": str,
    "terminationGracePeriodSeconds": int,
    "tolerations": list,
    "topologySpreadConstraints": list,
    "volumes": list,
}
# Of the model, written into its container as they are.
CONTAINER_FIELDS: Mapping[str, type] = {
    "envFrom": list,
    "image": str,
    "imagePullPolicy": str,
    "livenessProbe": dict,
    "readinessProbe": dict,
    "resources": dict,
    "securityContext": dict,
    "startupProbe": dict,
}
_PREDICTOR_FIELDS: Mapping[str, type] = {
    **POD_FIELDS,
    "annotations": dict,
    "canaryTrafficPercent": int,
    "containerConcurrency": int,  # read by Knative alone; Standard mode ignores it
    "labels": dict,
    "maxReplicas": int,
    "minReplicas": int,
    "model": dict,
    "timeout": int,
}
_MODEL_FIELDS: Mapping[str, type] = {
    **CONTAINER_FIELDS,
    "args": list,
    "env": list,
    "modelFormat": dict,
    "name": str,  # the container keeps the runtime's name, as KServe's does
    "protocolVersion": str,
    "runtime": str,
    "runtimeVersion": str,
    "storageUri": str,
    "volumeMounts": list,
}
_NO_AUTOSCALER = "there is no autoscaler yet: minReplicas pods run; remove it"
# Why not, and the cure, where the list of what is supported would not tell it.
_REFUSED: Mapping[str, str] = {
    "autoScaling": _NO_AUTOSCALER,
    "batcher": "the model server batches requests of one moment by itself; remove it",
    "containers": "own containers are not served yet; make a ServingRuntime and use model",
    "deploymentStrategy": (
        "a new version always runs beside the one before until its model is loaded; remove it"
    ),
    "logger": "requests are not logged yet; remove it",
    "scaleMetric": _NO_AUTOSCALER,
    "scaleMetricType": _NO_AUTOSCALER,
    "scaleTarget": _NO_AUTOSCALER,
    "storage": "use storageUri",
    "storageContainerName": "there are no storage initializers; use model.storageUri",
    "storageUris": "a predictor serves one model; use model.storageUri",
    "workerSpec": "a model over several pods is not served yet; remove it",
}
_TYPE_WORDS = {dict: "an object", list: "a list", str: "a string", bool: "true or false"}
# A revision's name is "<name>-predictor-00001" and must be a DNS label.
_NAME_CHARS = 63 - len("-predictor-00001")
# Durations of Gateway API have at most five digits.
_MOST_SECONDS = 99_999

STOP = "serving.kserve.io/stop"
_AUTOSCALER_CLASS = "serving.kserve.io/autoscalerClass"
_SCALED_BY_OTHERS = ("none", "external")


def is_stopped(obj: Object) -> bool:
    """Whether the user wants it to have no pods, Services and routes for now."""
    return meta.annotations(obj).get(STOP, "").lower() == "true"


def default(obj: Object) -> None:
    """Write ``predictor.sklearn`` (and its like) as ``predictor.model``, as KServe's webhook."""
    predictor = meta.dig(obj, "spec.predictor")
    if not isinstance(predictor, dict):
        return
    old = [name for name in FORMATS if isinstance(predictor.get(name), dict)]
    # Over a model, as KServe: a second "kubectl apply" of the old form comes beside the model that
    # the first was written as. Two old forms are left for validation to refuse.
    if len(old) == 1:
        predictor["model"] = {**predictor.pop(old[0]), "modelFormat": {"name": old[0]}}
    model = predictor.get("model")
    if isinstance(model, dict):
        model.setdefault("protocolVersion", "v1")
    predictor.setdefault("minReplicas", 1)


def validate(obj: Object, old: Object | None) -> list[Cause]:
    """The rules of this cluster that an InferenceService breaks."""
    causes = []
    if len(meta.name(obj)) > _NAME_CHARS:
        causes.append(
            bad("metadata.name", meta.name(obj), f"must be no more than {_NAME_CHARS} characters")
        )
    spec = obj.get("spec")
    predictor = spec.get("predictor") if isinstance(spec, dict) else None
    if not isinstance(spec, dict) or not isinstance(predictor, dict):
        return [*causes, required("spec.predictor")]
    causes += [
        bad(f"spec.{name}", name, "is not supported yet; serve the predictor alone")
        for name, value in spec.items()
        if name != "predictor" and value is not None
    ]
    model = predictor.get("model")
    if left := [name for name in FORMATS if predictor.get(name) is not None]:
        text = f"must be an object, and the only one of {', '.join(FORMATS)}"
        return [*causes, *(bad(f"spec.predictor.{name}", predictor[name], text) for name in left)]
    shape = _check_fields(predictor, _PREDICTOR_FIELDS, "spec.predictor")
    if shape:
        return causes + shape
    causes += _check_numbers(predictor)
    causes += _check_scaling(obj, predictor)
    if model is None:
        formats = ", ".join(FORMATS)
        return [*causes, required("spec.predictor.model", f"with modelFormat.name of {formats}")]
    return causes + _check_model(model)


def _check_fields(part: Object, known: Mapping[str, type], path: str) -> list[Cause]:
    """Fields that are not supported, or of another type; null is as good as absent."""
    causes = []
    for name, value in sorted(part.items()):
        if value is None:
            continue
        if name not in known:
            why = _REFUSED.get(name, f"supported are {', '.join(sorted(known))}")
            causes.append(bad(f"{path}.{name}", name, f"is not supported: {why}"))
        elif known[name] is not int and not isinstance(value, known[name]):
            causes.append(bad(f"{path}.{name}", value, f"must be {_TYPE_WORDS[known[name]]}"))
    return causes


def _check_model(model: Object) -> list[Cause]:
    path = "spec.predictor.model"
    causes = _check_fields(model, _MODEL_FIELDS, path)
    # The format itself is not looked up here: which are served is said by the ServingRuntimes.
    if not isinstance(name := meta.dig(model, "modelFormat.name"), str) or not name:
        causes.append(required(f"{path}.modelFormat.name"))
    version = meta.dig(model, "modelFormat.version")
    if version is not None and not isinstance(version, str):
        causes.append(bad(f"{path}.modelFormat.version", version, "must be a string; quote it"))
    if not model.get("storageUri"):
        causes.append(required(f"{path}.storageUri"))
    env = model.get("env")
    for number, entry in enumerate(env if isinstance(env, list) else ()):
        if not isinstance(meta.dig(entry, "name"), str):
            causes.append(required(f"{path}.env[{number}].name"))
    protocol = model.get("protocolVersion")
    if protocol not in (None, "v1", "v2"):
        causes.append(bad(f"{path}.protocolVersion", protocol, "must be v1 or v2"))
    return causes


def _check_numbers(predictor: Object) -> list[Cause]:
    highest = {"canaryTrafficPercent": 100, "timeout": _MOST_SECONDS}
    causes = []
    for name, type_ in _PREDICTOR_FIELDS.items():
        value = predictor.get(name)
        if type_ is not int or value is None:
            continue
        most = highest.get(name)
        if not is_whole(value) or value < 0 or (most is not None and value > most):
            rule = f"between 0 and {most}" if most else "a whole number, 0 or more"
            causes.append(bad(f"spec.predictor.{name}", value, f"must be {rule}"))
    return causes


def _check_scaling(obj: Object, predictor: Object) -> list[Cause]:
    kind = meta.annotations(obj).get(_AUTOSCALER_CLASS, "hpa")
    if kind not in ("hpa", *_SCALED_BY_OTHERS):
        path = f"metadata.annotations[{_AUTOSCALER_CLASS}]"
        return [unsupported(path, kind, ("hpa", *_SCALED_BY_OTHERS))]
    least: Any = predictor.get("minReplicas")
    most: Any = predictor.get("maxReplicas")
    if not is_whole(least) or not is_whole(most):
        return []
    if 0 < most < least:
        text = f"must not be more than maxReplicas ({most})"
        return [bad("spec.predictor.minReplicas", least, text)]
    # Standard mode's HPA would scale between the two; of the other classes it makes none.
    if most > max(1, least) and kind not in _SCALED_BY_OTHERS:
        text = (
            f"there is no autoscaler yet: give minReplicas ({least}), remove it, or set the "
            f"annotation {_AUTOSCALER_CLASS}: none"
        )
        return [bad("spec.predictor.maxReplicas", most, text)]
    return []


def _ready(obj: Object) -> object:
    return (meta.condition(obj, "Ready") or {}).get("status")


def _traffic(obj: Object, *, latest: bool) -> object:
    for target in meta.dig(obj, "status.components.predictor.traffic") or ():
        if bool(target.get("latestRevision")) is latest:
            return target.get("percent")
    return None


INFERENCE_SERVICE = Kind(
    "serving.kserve.io",
    "v1beta1",
    "InferenceService",
    "inferenceservices",
    singular="inferenceservice",
    short_names=("isvc",),
    subresources=frozenset({"status"}),
    columns=(
        Column("URL", lambda obj: meta.dig(obj, "status.url")),
        Column("Ready", _ready),
        Column("Prev", lambda obj: _traffic(obj, latest=False), "integer"),
        Column("Latest", lambda obj: _traffic(obj, latest=True), "integer"),
        Column(
            "PrevRolledoutRevision",
            lambda obj: meta.dig(obj, "status.components.predictor.previousRolledoutRevision"),
        ),
        Column(
            "LatestReadyRevision",
            lambda obj: meta.dig(obj, "status.components.predictor.latestReadyRevision"),
        ),
        Column("Age", lambda obj: meta.dig(obj, "metadata.creationTimestamp"), "date"),
    ),
    default=default,
    validate=validate,
    custom=True,
)
