"""Namespace: where objects live and what keeps users apart."""

from __future__ import annotations

from bessemer.kinds import columns
from bessemer.kinds.kind import Column, Kind, Object

#: Where Bessemer's own pods and the serving runtimes of all namespaces are.
SYSTEM_NAMESPACE = "bessemer-system"
#: What selectors of namespaces lean on: each carries its own name.
NAME_LABEL = "kubernetes.io/metadata.name"


def _default(obj: Object) -> None:
    metadata = obj["metadata"]
    if name := metadata.get("name"):
        metadata["labels"] = {**(metadata.get("labels") or {}), NAME_LABEL: name}
    obj.setdefault("status", {}).setdefault("phase", "Active")


NAMESPACE = Kind(
    "",
    "v1",
    "Namespace",
    "namespaces",
    namespaced=False,
    singular="namespace",
    short_names=("ns",),
    subresources=frozenset({"status"}),
    schema="core.v1.Namespace",
    default=_default,
    fields={"status.phase": "status.phase"},
    columns=(columns.NAME, Column("Status", columns.phase), columns.AGE),
)
