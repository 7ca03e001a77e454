"""Which objects a controller's selector makes its own: adopt orphans, release strangers. Pure.

Source: k8s.io/kubernetes pkg/controller/controller_ref_manager.go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bessemer.kinds import labelselector, meta
from bessemer.kinds.kind import Object


@dataclass(frozen=True)
class Claim:
    """What must change so that the owner has what its selector picks, and nothing else."""

    adopt: list[Object]
    release: list[Object]


def matches(selector: Object | None, labels: dict[str, str]) -> bool:
    """Whether a metav1.LabelSelector selects these labels; an empty or absent one selects none."""
    if not selector or not (selector.get("matchLabels") or selector.get("matchExpressions")):
        return False
    return labelselector.selects(selector, labels)


def controlled(owner: Object, dependents: Iterable[Object]) -> list[Object]:
    """Those of the dependents that the owner runs.

    A reference without ``controller: true`` asks for garbage collection alone.
    """
    uid = meta.uid(owner)
    return [obj for obj in dependents if (meta.controller_of(obj) or {}).get("uid") == uid]


def claim(owner: Object, dependents: Iterable[Object], others: Iterable[Object]) -> Claim:
    """Hold what the owner controls, and what nobody controls, against the owner's selector.

    An owner that is being deleted adopts nothing and releases nothing.
    """
    if meta.is_deleting(owner):
        return Claim([], [])
    selector = owner["spec"].get("selector")
    adopt = [
        obj
        for obj in others
        if meta.controller_of(obj) is None
        and not meta.is_deleting(obj)
        and matches(selector, meta.labels(obj))
    ]
    owned = controlled(owner, dependents)
    return Claim(adopt, [obj for obj in owned if not matches(selector, meta.labels(obj))])


def adopt(obj: Object, owner: Object) -> Object:
    """The merge patch that makes the owner its controller."""
    references = [*(obj["metadata"].get("ownerReferences") or ()), meta.owner_reference(owner)]
    return _references(obj, references)


def release(obj: Object, owner: Object) -> Object:
    """The merge patch that takes the owner away."""
    references = obj["metadata"].get("ownerReferences") or ()
    return _references(obj, [entry for entry in references if entry["uid"] != meta.uid(owner)])


def _references(obj: Object, references: list[Object]) -> Object:
    version = obj["metadata"].get("resourceVersion")
    return {"metadata": {"ownerReferences": references, "resourceVersion": version}}
