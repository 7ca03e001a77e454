"""ServingRuntime: which container serves which model format, and the runtimes that we ship.

Source: kserve pkg/apis/serving/v1alpha1/servingruntime_types.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bessemer.kinds import meta, modelserverimage, schemas
from bessemer.kinds.kind import Cause, Column, Kind, Object
from bessemer.kinds.modelserverimage import Part
from bessemer.kinds.rules import bad, required

# Written into the runtime's pods as they are: whether a pod may have them is said where pods are
# admitted.
POD_FIELDS: Mapping[str, type] = {
    "affinity": dict,
    "imagePullSecrets": list,
    "nodeSelector": dict,
    "tolerations": list,
    "volumes": list,
}
_TYPES: Mapping[str, type] = {
    **POD_FIELDS,
    "annotations": dict,
    "labels": dict,
    "protocolVersions": list,
    "supportedModelFormats": list,  # one of none serves no model by itself
}
# Whose runtimes the node can't run yet; what else upstream's Standard mode ignores is ignored.
_REFUSED = ("hostIPC", "workerSpec")
_FORMAT_FIELDS: Mapping[str, tuple[type, str]] = {
    "name": (str, "a string"),
    "version": (str, "a string; quote it"),
    "autoSelect": (bool, "true or false"),
    "priority": (int, "a whole number"),
}


def validate(obj: Object, old: Object | None) -> list[Cause]:
    """The rules of this cluster that a ServingRuntime breaks."""
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return [required("spec")]
    causes = [
        bad(f"spec.{name}", spec[name], "is not supported yet; remove it")
        for name in _REFUSED
        if spec.get(name)
    ]
    if causes := causes + _check_types(spec):
        return causes
    for number, entry in enumerate(spec.get("supportedModelFormats") or ()):
        causes += _check_format(entry, f"spec.supportedModelFormats[{number}]")
    return causes + _check_containers(spec.get("containers"))


def _check_types(spec: Object) -> list[Cause]:
    return [
        bad(f"spec.{name}", spec[name], f"must be {'an object' if type_ is dict else 'a list'}")
        for name, type_ in _TYPES.items()
        if spec.get(name) is not None and not isinstance(spec[name], type_)
    ]


def _check_format(entry: Any, path: str) -> list[Cause]:
    if not isinstance(entry, dict) or not entry.get("name"):
        return [required(f"{path}.name")]
    return [
        bad(f"{path}.{name}", entry[name], f"must be {words}")
        for name, (type_, words) in _FORMAT_FIELDS.items()
        if entry.get(name) is not None and type(entry[name]) is not type_
    ]


def _check_containers(containers: Any) -> list[Cause]:
    path = "spec.containers"
    if not isinstance(containers, list) or not containers:
        return [required(path)]
    if len(containers) > 1:
        return [bad(path, len(containers), "must be one container: others do not run yet")]
    (container,) = containers
    if not isinstance(container, dict) or not container.get("image"):
        return [required(f"{path}[0].image")]
    found = schemas.checker("core.v1.Container")(meta.copy(container)) or ()
    return [
        Cause(f"{path}[0].{finding.path}", finding.message.replace("{path}", path))
        for finding in found
        if finding.fault is not schemas.Fault.UNKNOWN
    ]


SERVING_RUNTIME = Kind(
    "serving.kserve.io",
    "v1alpha1",
    "ServingRuntime",
    "servingruntimes",
    singular="servingruntime",
    subresources=frozenset({"status"}),
    columns=(
        Column("Disabled", lambda obj: meta.dig(obj, "spec.disabled"), "boolean"),
        Column(
            "ModelType",
            lambda obj: (meta.dig(obj, "spec.supportedModelFormats") or [{}])[0].get("name"),
        ),
        Column(
            "Containers",
            lambda obj: (meta.dig(obj, "spec.containers") or [{}])[0].get("name"),
        ),
        Column("Age", lambda obj: meta.dig(obj, "metadata.creationTimestamp"), "date"),
    ),
    validate=validate,
    custom=True,
)

# What our own model server's runtimes are made of. xgboost comes with scikit-learn, which pickles
# of its estimators need.
_SKLEARN = Part("sklearn", "1.9.1")
_XGBOOST = Part("xgboost", "3.2.0")
_SHIPPED = (
    ("bessemer-sklearn", "sklearn", "1", modelserverimage.reference(_SKLEARN)),
    ("bessemer-xgboost", "xgboost", "3", modelserverimage.reference(_XGBOOST, _SKLEARN)),
)


def shipped(namespace: str) -> list[Object]:
    """The runtimes that every namespace can use, as objects of one namespace."""
    return [
        meta.new(
            SERVING_RUNTIME,
            name,
            namespace,
            spec={
                "supportedModelFormats": [
                    {"name": framework, "version": version, "autoSelect": True, "priority": 1}
                ],
                "protocolVersions": ["v1", "v2"],
                "containers": [
                    {
                        "name": "kserve-container",
                        "image": image,
                        "command": ["python3", "-m", "bessemer.modelserver"],
                        "args": [
                            "--model_name={{.Name}}",
                            "--model_dir={{.ModelDir}}",
                            "--model_version={{.Revision}}",
                            f"--framework={framework}",
                            "--http_port=8080",
                        ],
                    }
                ],
            },
        )
        for name, framework, version, image in _SHIPPED
    ]
