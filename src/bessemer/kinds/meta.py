"""Reading and making the parts that all objects share: metadata, owners, conditions."""

import copy as _copy
from collections.abc import Iterable
from datetime import datetime
from typing import Any, cast

from bessemer.base.clock import format_time
from bessemer.kinds.kind import Kind, Object

#: Finalizers by which the garbage collector is told what becomes of what an object owns: it goes
#: first, or it stays. Source: metav1.FinalizerDeleteDependents, FinalizerOrphanDependents.
FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


def name(obj: Object) -> str:
    """metadata.name."""
    return cast(str, obj["metadata"]["name"])


def namespace(obj: Object) -> str:
    """metadata.namespace; empty for cluster-scoped objects."""
    return cast(str, obj["metadata"].get("namespace", ""))


def uid(obj: Object) -> str:
    """metadata.uid."""
    return cast(str, obj["metadata"]["uid"])


def labels(obj: Object) -> dict[str, str]:
    """metadata.labels, empty when absent."""
    return cast("dict[str, str]", obj["metadata"].get("labels") or {})


def annotations(obj: Object) -> dict[str, str]:
    """metadata.annotations, empty when absent."""
    return cast("dict[str, str]", obj["metadata"].get("annotations") or {})


def is_deleting(obj: Object) -> bool:
    """Whether metadata.deletionTimestamp is set: finalizers or a grace period hold it."""
    return bool(obj["metadata"].get("deletionTimestamp"))


def copy(obj: Object) -> Object:
    """A deep copy, safe to modify."""
    return _copy.deepcopy(obj)


def dig(obj: Any, path: str, default: Any = None) -> Any:
    """The value at a dotted path of mapping keys, or the default where a step is absent."""
    for step in path.split("."):
        if not isinstance(obj, dict) or step not in obj:
            return default
        obj = obj[step]
    return obj


def owner_reference(owner: Object, *, controller: bool = True) -> Object:
    """A reference that makes the owner's deletion delete the object that carries it."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name(owner),
        "uid": uid(owner),
        "controller": controller,
        "blockOwnerDeletion": True,
    }


def controller_of(obj: Object) -> Object | None:
    """The owner reference with controller=true, if any."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return cast(Object, reference)
    return None


def new(kind: Kind, name: str, namespace: str = "", **parts: Any) -> Object:
    """A fresh object of a kind: ``new(POD, "a", "default", spec={...}, labels={...})``.

    ``labels``, ``annotations`` and ``owners`` (owner references) go into metadata, the other
    parts to the top level.
    """
    metadata: Object = {"name": name}
    if kind.namespaced:
        metadata["namespace"] = namespace
    if labels_ := parts.pop("labels", None):
        metadata["labels"] = dict(labels_)
    if annotations_ := parts.pop("annotations", None):
        metadata["annotations"] = dict(annotations_)
    if owners := parts.pop("owners", None):
        metadata["ownerReferences"] = list(owners)
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **parts}


def condition(obj: Object, type_: str) -> Object | None:
    """The status condition of that type, if present."""
    for entry in dig(obj, "status.conditions") or ():
        if entry.get("type") == type_:
            return cast(Object, entry)
    return None


def merge_conditions(
    current: Iterable[Object], wanted: Iterable[Object], now: datetime
) -> list[Object]:
    """The current conditions with the wanted ones set; a transition time moves only with status.

    A wanted condition has type, status, reason, message; ones of other types stay as they are.
    Source: k8s.io/apimachinery/pkg/api/meta SetStatusCondition.
    """
    by_type = {entry["type"]: entry for entry in current}
    for entry in wanted:
        old = by_type.get(entry["type"])
        moved = old is None or old.get("status") != entry["status"]
        since = format_time(now) if moved or old is None else old.get("lastTransitionTime")
        by_type[entry["type"]] = {**entry, "lastTransitionTime": since}
    return list(by_type.values())
