"""InferenceService: a model that answers requests.

Source: kserve pkg/apis/serving/v1beta1 (defaults of the old per-framework forms, validation) and
config/crd's printer columns. What we don't do yet is refused by name.
"""

from __future__ import annotations

from typing import Any

from bessemer.resources import meta
from bessemer.resources.kind import Cause, Column, Kind, Object
from bessemer.resources.rules import bad, required

FORMATS = ("sklearn", "xgboost")
_PREDICTOR_FIELDS = frozenset({
    "model", "minReplicas", "maxReplicas", "canaryTrafficPercent", "serviceAccountName",
    "timeout", "labels", "annotations", "terminationGracePeriodSeconds",
})  # fmt: skip
_MODEL_FIELDS = frozenset({
    "modelFormat", "storageUri", "runtime", "runtimeVersion", "protocolVersion", "resources",
    "env", "args", "name",
})  # fmt: skip
# A revision's name is "<name>-predictor-00001" and must be a DNS label.
_NAME_CHARS = 63 - len("-predictor-00001")


def default(obj: Object) -> None:
    """Write ``predictor.sklearn`` (and its like) as ``predictor.model``, as KServe's webhook."""
    predictor = meta.dig(obj, "spec.predictor")
    if not isinstance(predictor, dict):
        return
    for framework in FORMATS:
        old = predictor.pop(framework, None)
        if isinstance(old, dict):
            predictor["model"] = {**old, "modelFormat": {"name": framework}}
    model = predictor.get("model")
    if isinstance(model, dict):
        model.setdefault("protocolVersion", "v1")
    predictor.setdefault("minReplicas", 1)


def validate(obj: Object, old: Object | None) -> list[Cause]:
    """The broken rules."""
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
        for name in spec
        if name != "predictor"
    ]
    causes += _check_fields(predictor, _PREDICTOR_FIELDS, "spec.predictor")
    causes += _check_numbers(predictor)
    model = predictor.get("model")
    if not isinstance(model, dict):
        formats = ", ".join(FORMATS)
        return [*causes, required("spec.predictor.model", f"with modelFormat.name of {formats}")]
    return causes + _check_model(model)


def _check_fields(part: Object, known: frozenset[str], path: str) -> list[Cause]:
    return [
        bad(f"{path}.{name}", name, f"is not supported; supported are {', '.join(sorted(known))}")
        for name in sorted(set(part) - known)
    ]


def _check_model(model: Object) -> list[Cause]:
    path = "spec.predictor.model"
    causes = _check_fields(model, _MODEL_FIELDS, path)
    # The format itself is not looked up here: which are served is said by the ServingRuntimes.
    if not isinstance(name := meta.dig(model, "modelFormat.name"), str) or not name:
        causes.append(required(f"{path}.modelFormat.name"))
    uri = model.get("storageUri")
    if uri is None or uri == "":
        causes.append(required(f"{path}.storageUri"))
    elif not isinstance(uri, str):
        causes.append(bad(f"{path}.storageUri", uri, "must be a string"))
    protocol = model.get("protocolVersion")
    if protocol not in (None, "v1", "v2"):
        causes.append(bad(f"{path}.protocolVersion", protocol, "must be v1 or v2"))
    return causes


def _check_numbers(predictor: Object) -> list[Cause]:
    causes = []
    percent = predictor.get("canaryTrafficPercent")
    if percent is not None and not (_is_whole(percent) and 0 <= percent <= 100):
        causes.append(
            bad("spec.predictor.canaryTrafficPercent", percent, "must be between 0 and 100")
        )
    least, most = predictor.get("minReplicas"), predictor.get("maxReplicas")
    for name, value in (("minReplicas", least), ("maxReplicas", most)):
        if value is not None and not (_is_whole(value) and value >= 0):
            causes.append(
                bad(f"spec.predictor.{name}", value, "must be a whole number, 0 or more")
            )
    if isinstance(least, int) and isinstance(most, int) and 0 < most < least:
        causes.append(
            bad("spec.predictor.minReplicas", least, f"must not be more than maxReplicas ({most})")
        )
    return causes


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


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
