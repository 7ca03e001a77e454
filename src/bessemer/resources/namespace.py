"""Namespace: where objects live and what keeps users apart."""

from bessemer.resources.kind import Kind

NAMESPACE = Kind(
    "",
    "v1",
    "Namespace",
    "namespaces",
    namespaced=False,
    singular="namespace",
    short_names=("ns",),
    subresources=frozenset({"status"}),
)
