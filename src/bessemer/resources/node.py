"""Node: what pods run on; the embedded cluster has one."""

from bessemer.resources.kind import Kind

NODE = Kind(
    "",
    "v1",
    "Node",
    "nodes",
    namespaced=False,
    singular="node",
    short_names=("no",),
    subresources=frozenset({"status"}),
)
