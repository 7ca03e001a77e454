"""Which ServingRuntime serves a model, and the container that it makes of it. Pure.

Source: kserve pkg/apis/serving/v1beta1/predictor_model.go (selection),
pkg/controller/.../components/predictor.go (placeholders).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from bessemer.kinds import imagereference, meta, modelserverimage
from bessemer.kinds.inferenceservice import CONTAINER_FIELDS
from bessemer.kinds.kind import Object
from bessemer.serving.errors import Unservable


def select(model: Object, runtimes: Iterable[Object], namespace: str) -> Object:
    """The runtime for a model: the named one, else the first that serves its format by itself.

    The namespace's own go before the shared ones; then the higher priority, the newer, the name.

    Raises:
        Unservable: none serves it.
    """
    wanted = model.get("runtime")
    known = list(runtimes)
    usable = [runtime for runtime in known if not _is_off(runtime)]
    if wanted:
        usable = [runtime for runtime in usable if meta.name(runtime) == wanted]
        if not usable:
            raise _explain_absence(wanted, known)
    matching = [
        (-priority, meta.namespace(runtime) != namespace, index, runtime)
        for index, runtime in enumerate(_by_age(usable))
        if (priority := _match(runtime, model, named=bool(wanted))) is not None
    ]
    if not matching:
        form = model["modelFormat"]
        version = f" version {form['version']}" if form.get("version") else ""
        raise Unservable(
            "NoSupportingRuntime",
            f"no ServingRuntime serves model format {form['name']!r}{version} by protocol "
            f"{model.get('protocolVersion', 'v1')}; {_describe(usable)}",
        )
    return min(matching, key=lambda entry: (entry[1], entry[0], entry[2]))[3]


def _is_off(runtime: Object) -> bool:
    """Whether it serves no single model: disabled, or one of ModelMesh."""
    return bool(meta.dig(runtime, "spec.disabled") or meta.dig(runtime, "spec.multiModel"))


def _explain_absence(wanted: str, known: Iterable[Object]) -> Unservable:
    if any(meta.name(runtime) == wanted for runtime in known):
        text = f"ServingRuntime {wanted!r} has spec.disabled or spec.multiModel; name another"
        return Unservable("RuntimeDisabled", text)
    text = f"ServingRuntime {wanted!r} does not exist; {_describe(known)}"
    return Unservable("RuntimeNotRecognized", text)


def _by_age(runtimes: list[Object]) -> list[Object]:
    by_name = sorted(runtimes, key=meta.name)
    return sorted(
        by_name, key=lambda entry: entry["metadata"].get("creationTimestamp", ""), reverse=True
    )


def _match(runtime: Object, model: Object, *, named: bool) -> int | None:
    """The priority with which the runtime serves the model; None if it doesn't."""
    protocols = meta.dig(runtime, "spec.protocolVersions") or ["v1"]
    if model.get("protocolVersion", "v1") not in protocols:
        return None
    wanted = model["modelFormat"]
    for entry in meta.dig(runtime, "spec.supportedModelFormats") or ():
        if entry.get("name") != wanted["name"] or not (named or entry.get("autoSelect")):
            continue
        if _is_of(str(wanted.get("version") or ""), str(entry.get("version") or "")):
            return int(entry.get("priority") or 0)
    return None


def _is_of(wanted: str, served: str) -> bool:
    """Whether "1.5.2" is of "1"; what isn't said fits."""
    if not wanted or not served:
        return True
    mine, theirs = wanted.split("."), served.split(".")
    shared = min(len(mine), len(theirs))
    return mine[:shared] == theirs[:shared]


def _describe(runtimes: Iterable[Object]) -> str:
    formats = {
        f"{entry['name']} ({meta.name(runtime)})"
        for runtime in runtimes
        for entry in meta.dig(runtime, "spec.supportedModelFormats") or ()
    }
    return f"served are {', '.join(sorted(formats)) or 'none'}"


def values_of(isvc: Object) -> dict[str, str]:
    """What an InferenceService's own metadata gives to the placeholders of a runtime."""
    return {
        "Name": meta.name(isvc),
        "Namespace": meta.namespace(isvc),
        **{f"Labels.{name}": value for name, value in meta.labels(isvc).items()},
        **{f"Annotations.{name}": value for name, value in meta.annotations(isvc).items()},
    }


def make_container(runtime: Object, model: Object, values: Mapping[str, str]) -> Object:
    """The runtime's first container with its placeholders filled and the model's own wishes.

    Raises:
        Unservable: a placeholder has no value.
    """
    container: Object = _fill(meta.dig(runtime, "spec.containers")[0], values)
    container["image"] = _pin(container["image"], model)
    container["args"] = [*(container.get("args") or ()), *(model.get("args") or ())]
    names = {entry["name"] for entry in model.get("env") or ()}
    kept = [entry for entry in container.get("env") or () if entry["name"] not in names]
    if env := [*kept, *(model.get("env") or ())]:
        container["env"] = env
    if mounts := [*(container.get("volumeMounts") or ()), *(model.get("volumeMounts") or ())]:
        container["volumeMounts"] = mounts
    return {**container, **{key: model[key] for key in CONTAINER_FIELDS if model.get(key)}}


def _fill(part: Any, values: Mapping[str, str]) -> Any:
    """A copy of a part of a container with the placeholders in all its texts filled."""
    if isinstance(part, dict):
        return {key: _fill(value, values) for key, value in part.items()}
    if isinstance(part, list):
        return [_fill(value, values) for value in part]
    return _fill_text(part, values) if isinstance(part, str) else part


def _fill_text(text: str, values: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1].removeprefix(".")
        if name not in values:
            raise Unservable(
                "InvalidPredictorSpec",
                f"the ServingRuntime has the placeholder {match[0]}, which has no value; known "
                "are .Name, .Namespace, .Labels.x and .Annotations.x of the InferenceService, "
                ".ModelDir and .Revision",
            )
        return values[name]

    return re.sub(r"\{\{\s*(.*?)\s*\}\}", value, text)


def _pin(image: str, model: Object) -> str:
    """The image with the framework version that the model asks for."""
    form: dict[str, Any] = model["modelFormat"]
    version = str(model.get("runtimeVersion") or "")
    if not modelserverimage.is_one(image):
        return imagereference.with_tag(image, version) if version else image
    asked = str(form.get("version") or "")
    # "1" only says which line is meant; "1.5.2" is a version to serve with.
    version = version or (asked if "." in asked else "")
    return modelserverimage.pin(image, form["name"], version) if version else image
