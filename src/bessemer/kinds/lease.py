"""Lease: who leads, and until when."""

from __future__ import annotations

from bessemer.kinds import columns, rules
from bessemer.kinds.kind import Cause, Column, Kind, Object


def _validate(new: Object, _old: Object | None) -> list[Cause]:
    spec = new.get("spec") or {}
    seconds = spec.get("leaseDurationSeconds")
    causes = []
    if seconds is not None and seconds <= 0:
        causes.append(rules.bad("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
    return causes + rules.not_negative("spec.leaseTransitions", spec.get("leaseTransitions"))


LEASE = Kind(
    "coordination.k8s.io",
    "v1",
    "Lease",
    "leases",
    singular="lease",
    schema="coordination.v1.Lease",
    validate=_validate,
    columns=(
        columns.NAME,
        Column("Holder", columns.path("spec.holderIdentity", "")),
        columns.AGE,
    ),
)
