"""Derive ``kinds/definitions.json``: the schemas of KServe's kinds, from its SDK's typed models.

Run with a Python that has kserve: ``examples/breast_cancer/.venv/bin/python``. Only names and
types are taken. What Kubernetes itself defines (a PodSpec's parts) stays free in these schemas, as
its rules are those of pods. Source: kserve's ``models`` (``openapi_types``, ``attribute_map``).
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from kserve import models

OUTPUT = Path(__file__).parent.parent / "src/bessemer/kinds/definitions.json"
#: Our kinds: the model of the spec, and of the status, if it has one.
ROOTS = {
    "InferenceService": ("V1beta1InferenceServiceSpec", "V1beta1InferenceServiceStatus"),
    "ServingRuntime": ("V1alpha1ServingRuntimeSpec", ""),
}
FREE = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
WORDS = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "datetime": {"type": "string", "format": "date-time"},
    "object": {"x-kubernetes-preserve-unknown-fields": True},
    "ResourceQuantity": {"x-kubernetes-int-or-string": True},
    "IntstrIntOrString": {"x-kubernetes-int-or-string": True},
}


def describe(name: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """The schema of a type's name as the models write it."""
    if name in WORDS:
        return WORDS[name]
    if found := re.fullmatch(r"list\[(.*)\]", name):
        return {"type": "array", "items": describe(found[1], above)}
    if found := re.fullmatch(r"dict\(str, (.*)\)", name):
        return {"type": "object", "additionalProperties": describe(found[1], above)}
    model = getattr(models, name, None)
    if model is None or name in above:  # Kubernetes' own, or a type that leads back to itself
        return FREE
    properties = {
        model.attribute_map[key]: describe(type_, (*above, name))
        for key, type_ in sorted(model.openapi_types.items())
    }
    return {**FREE, "properties": properties}


def main() -> None:
    found = {}
    for kind, (spec, status) in ROOTS.items():
        properties = {"spec": describe(spec), "status": describe(status) if status else FREE}
        found[kind] = {"type": "object", "properties": properties}
    text = json.dumps(found, sort_keys=True, separators=(",", ":"))
    OUTPUT.write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(f"{OUTPUT.name}: {len(text)} bytes\n")


if __name__ == "__main__":
    main()
