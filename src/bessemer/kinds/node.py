"""Node: what pods run on; the embedded cluster has one."""

from __future__ import annotations

from bessemer.kinds import columns, meta
from bessemer.kinds.kind import Column, Kind, Object

_ROLE = "node-role.kubernetes.io/"


def _status(obj: Object) -> str:
    ready = (meta.condition(obj, "Ready") or {}).get("status")
    words = {"True": "Ready", "False": "NotReady"}
    text = words.get(str(ready), "Unknown")
    return f"{text},SchedulingDisabled" if meta.dig(obj, "spec.unschedulable") else text


def _roles(obj: Object) -> str:
    return columns.join(
        sorted(key.removeprefix(_ROLE) for key in meta.labels(obj) if key.startswith(_ROLE))
    )


def _address(obj: Object, type_: str) -> str:
    for entry in meta.dig(obj, "status.addresses") or ():
        if entry["type"] == type_:
            return str(entry["address"])
    return "<none>"


NODE = Kind(
    "",
    "v1",
    "Node",
    "nodes",
    namespaced=False,
    singular="node",
    short_names=("no",),
    subresources=frozenset({"status"}),
    schema="core.v1.Node",
    fields={"spec.unschedulable": "spec.unschedulable"},
    columns=(
        columns.NAME,
        Column("Status", _status),
        Column("Roles", _roles),
        columns.AGE,
        Column("Version", columns.path("status.nodeInfo.kubeletVersion", "")),
        Column("Internal-IP", lambda obj: _address(obj, "InternalIP"), priority=1),
        Column("External-IP", lambda obj: _address(obj, "ExternalIP"), priority=1),
        Column("OS-Image", columns.path("status.nodeInfo.osImage"), priority=1),
        Column("Kernel-Version", columns.path("status.nodeInfo.kernelVersion"), priority=1),
        Column(
            "Container-Runtime",
            columns.path("status.nodeInfo.containerRuntimeVersion"),
            priority=1,
        ),
    ),
)
