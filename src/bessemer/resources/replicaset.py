"""ReplicaSet: a number of equal pods."""

from bessemer.resources.kind import Kind

REPLICA_SET = Kind(
    "apps",
    "v1",
    "ReplicaSet",
    "replicasets",
    singular="replicaset",
    short_names=("rs",),
    subresources=frozenset({"scale", "status"}),
)
