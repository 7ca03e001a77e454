"""ServingRuntime: which container serves which model format, and the runtimes that we ship.

Source: kserve pkg/apis/serving/v1alpha1/servingruntime_types.go.
"""

from __future__ import annotations

from bessemer.resources import meta
from bessemer.resources.kind import Cause, Column, Kind, Object
from bessemer.resources.rules import bad, required


def validate(obj: Object, old: Object | None) -> list[Cause]:
    """The broken rules."""
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return [required("spec")]
    causes = []
    formats = spec.get("supportedModelFormats") or []  # one of none serves no model by itself
    if not isinstance(formats, list):
        causes.append(bad("spec.supportedModelFormats", formats, "must be a list"))
    else:
        causes += [
            required(f"spec.supportedModelFormats[{number}].name")
            for number, entry in enumerate(formats)
            if not isinstance(entry, dict) or not entry.get("name")
        ]
    containers = spec.get("containers")
    if not isinstance(containers, list) or not containers:
        causes.append(required("spec.containers"))
    elif not isinstance(containers[0], dict) or not containers[0].get("image"):
        causes.append(required("spec.containers[0].image"))
    return causes


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
_SHIPPED = (
    ("bessemer-sklearn", "sklearn", "1", "bessemer/modelserver:sklearn-1.9.1"),
    ("bessemer-xgboost", "xgboost", "3", "bessemer/modelserver:xgboost-3.2.0_sklearn-1.9.1"),
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
