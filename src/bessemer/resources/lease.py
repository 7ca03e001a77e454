"""Lease: who leads, and until when."""

from bessemer.resources.kind import Kind

LEASE = Kind(
    "coordination.k8s.io",
    "v1",
    "Lease",
    "leases",
    singular="lease",
)
