"""The scale subresource: one number of an object, as autoscalers see it. Pure.

Source: autoscaling/v1 Scale.
"""

from __future__ import annotations

from bessemer.kinds import columns, labelselector, meta
from bessemer.kinds.kind import Column, Kind, Object

# For patches: a Scale is an object of its own.
SCALE = Kind(
    "autoscaling",
    "v1",
    "Scale",
    "scales",
    columns=(
        columns.NAME,
        Column("Desired", columns.path("spec.replicas", 0), type="integer"),
        Column("Available", columns.path("status.replicas", 0), type="integer"),
        columns.AGE,
    ),
)


def read(obj: Object) -> Object:
    """The object's Scale."""
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    metadata = {key: obj["metadata"][key] for key in kept if key in obj["metadata"]}
    selector = labelselector.format_labels(
        labelselector.from_object(meta.dig(obj, "spec.selector"))
    )
    return {
        "apiVersion": SCALE.api_version,
        "kind": SCALE.kind,
        "metadata": metadata,
        "spec": {"replicas": meta.dig(obj, "spec.replicas", 1)},
        "status": {"replicas": meta.dig(obj, "status.replicas", 0), "selector": selector},
    }


def apply(obj: Object, scale: Object) -> Object:
    """The object with the Scale's number of replicas and, if it has one, its resourceVersion."""
    metadata = dict(obj["metadata"])
    if version := meta.dig(scale, "metadata.resourceVersion"):
        metadata["resourceVersion"] = version
    replicas = meta.dig(scale, "spec.replicas", 0)
    return {**obj, "metadata": metadata, "spec": {**obj.get("spec", {}), "replicas": replicas}}
