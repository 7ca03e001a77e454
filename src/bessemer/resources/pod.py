"""Pod: what runs."""

from bessemer.resources.kind import Kind

POD = Kind(
    "",
    "v1",
    "Pod",
    "pods",
    singular="pod",
    short_names=("po",),
    subresources=frozenset({"status"}),
)
