"""Who owns whom, and what that asks of an object. Pure.

Source: k8s.io/kubernetes pkg/controller/garbagecollector.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from bessemer.kinds import meta
from bessemer.kinds.kind import Kind, Object


class Owner(Enum):
    """What is known of an owner that a reference names."""

    THERE = auto()  # it lives
    WAITING = auto()  # it is being deleted in the foreground: it waits for its dependents
    GONE = auto()  # no object has this uid


@dataclass(frozen=True)
class Keep:
    """The object stays: an owner of it still exists."""


@dataclass(frozen=True)
class Delete:
    """No owner of the object exists any more: it is deleted too."""

    propagation: str


@dataclass(frozen=True)
class Unlink:
    """Some owners live: only the references to the others go."""

    references: tuple[Object, ...]  # that stay


Verdict = Keep | Delete | Unlink


def judge(obj: Object, look_up: Callable[[Object], Owner]) -> Verdict:
    """What becomes of a dependent; ``look_up`` tells of the owner of a reference."""
    references = obj["metadata"].get("ownerReferences") or ()
    known = [(reference, look_up(reference)) for reference in references]
    if not known or meta.is_deleting(obj) or all(o is Owner.THERE for _, o in known):
        return Keep()
    if any(owner is Owner.THERE for _, owner in known):
        return Unlink(tuple(reference for reference, owner in known if owner is Owner.THERE))
    # Somebody waits for it to be gone for good, with all that depends on it.
    if any(owner is Owner.WAITING for _, owner in known):
        return Delete("Foreground")
    # How it is to go may stand on it already.
    finalizers = obj["metadata"].get("finalizers") or ()
    if meta.ORPHAN in finalizers:
        return Delete("Orphan")
    return Delete("Foreground" if meta.FOREGROUND in finalizers else "Background")


def is_named(reference: Object, kind: Kind, owner: Object, dependent: Object) -> bool:
    """Whether the reference names that object: its kind, name and namespace, not its uid alone.

    An object of a namespace can't own one of another: such an owner counts as absent.
    """
    group = reference["apiVersion"].rpartition("/")[0]
    if (group, reference["kind"], reference["name"]) != (kind.group, kind.kind, meta.name(owner)):
        return False
    return not kind.namespaced or meta.namespace(owner) == meta.namespace(dependent)


def depends(dependent: Object, kind: Kind, owner: Object) -> bool:
    """Whether an object really has that owner, and does not only bear its uid.

    Who may write in one namespace can write any uid: nothing in another may wait for that.
    """
    uid = meta.uid(owner)
    return any(
        entry["uid"] == uid and is_named(entry, kind, owner, dependent)
        for entry in dependent["metadata"].get("ownerReferences") or ()
    )


def unblocking(obj: Object) -> Object:
    """The merge patch by which no owner waits for it: the way out of a circle of owners."""
    references = obj["metadata"].get("ownerReferences") or ()
    return references_patch(
        obj, tuple({**entry, "blockOwnerDeletion": False} for entry in references)
    )


def finalizers_without(obj: Object, name: str) -> Object:
    """The merge patch that takes one finalizer away, guarded by the version."""
    kept = [entry for entry in obj["metadata"].get("finalizers") or () if entry != name]
    return {
        "metadata": {"finalizers": kept, "resourceVersion": obj["metadata"]["resourceVersion"]}
    }


def references_without(obj: Object, uid: str) -> Object:
    """The merge patch that takes one owner away, guarded by the version."""
    references = obj["metadata"].get("ownerReferences") or ()
    return references_patch(obj, tuple(entry for entry in references if entry["uid"] != uid))


def references_patch(obj: Object, references: tuple[Object, ...]) -> Object:
    """The merge patch that leaves these owners, guarded by the version."""
    version = obj["metadata"]["resourceVersion"]
    return {"metadata": {"ownerReferences": list(references), "resourceVersion": version}}


def blocks(dependent: Object, uid: str) -> bool:
    """Whether an owner deleted in the foreground waits for this one."""
    return any(
        entry["uid"] == uid and entry.get("blockOwnerDeletion")
        for entry in dependent["metadata"].get("ownerReferences") or ()
    )
