"""ReplicaSet: a number of equal pods."""

from __future__ import annotations

from bessemer.kinds import columns, template
from bessemer.kinds.kind import Cause, Column, Kind, Object


def _default(obj: Object) -> None:
    obj.setdefault("spec", {}).setdefault("replicas", 1)
    template.fill(obj)


def _validate(new: Object, _old: Object | None) -> list[Cause]:
    return template.check_replicated(new, "replicaset")


REPLICA_SET = Kind(
    "apps",
    "v1",
    "ReplicaSet",
    "replicasets",
    singular="replicaset",
    short_names=("rs",),
    categories=("all",),
    subresources=frozenset({"scale", "status"}),
    schema="apps.v1.ReplicaSet",
    default=_default,
    validate=_validate,
    fields={"status.replicas": "status.replicas"},
    columns=(
        columns.NAME,
        Column("Desired", columns.path("spec.replicas", 0), type="integer"),
        Column("Current", columns.path("status.replicas", 0), type="integer"),
        Column("Ready", columns.path("status.readyReplicas", 0), type="integer"),
        columns.AGE,
        *columns.TEMPLATE,
    ),
)
