"""The scale subresource: one number of an object, as autoscalers see it. Pure.

Source: autoscaling/v1 Scale.
"""

from __future__ import annotations

from bessemer.kinds import columns, labelselector, meta
from bessemer.kinds.kind import Column, Kind, Object, Scale

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


_USUAL = Scale()


def read(kind: Kind, obj: Object) -> Object:
    """The object's Scale."""
    where = kind.scale or _USUAL
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    metadata = {key: obj["metadata"][key] for key in kept if key in obj["metadata"]}
    if where.selector:
        selector = str(meta.dig(obj, where.selector, ""))
    elif kind.scale is None:
        selector = labelselector.format_labels(
            labelselector.from_object(meta.dig(obj, "spec.selector"))
        )
    else:
        selector = ""
    return {
        "apiVersion": SCALE.api_version,
        "kind": SCALE.kind,
        "metadata": metadata,
        "spec": {"replicas": meta.dig(obj, where.replicas, 0 if kind.scale else 1)},
        "status": {"replicas": meta.dig(obj, where.observed, 0), "selector": selector},
    }


def apply(kind: Kind, obj: Object, scale: Object) -> Object:
    """The object with the Scale's number of replicas and, if it has one, its resourceVersion."""
    metadata = dict(obj["metadata"])
    if version := meta.dig(scale, "metadata.resourceVersion"):
        metadata["resourceVersion"] = version
    replicas = meta.dig(scale, "spec.replicas", 0)
    found = {**obj, "metadata": metadata}
    *steps, last = (kind.scale or _USUAL).replicas.split(".")
    inner = found
    for step in steps:
        inner[step] = inner = dict(inner.get(step) or {})
    inner[last] = replicas
    return found
