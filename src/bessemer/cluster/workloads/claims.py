"""Which objects a controller's selector makes its own: adopt orphans, release strangers. Pure.

Source: k8s.io/kubernetes pkg/controller/controller_ref_manager.go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bessemer.resources import meta
from bessemer.resources.kind import Object


@dataclass(frozen=True)
class Claim:
    """What belongs to the owner now, and what must change for that."""

    owned: list[Object]
    adopt: list[Object]
    release: list[Object]


def matches(selector: Object | None, labels: dict[str, str]) -> bool:
    """Whether a metav1.LabelSelector selects these labels; an empty or absent one selects none."""
    wanted = (selector or {}).get("matchLabels") or {}
    expressions = (selector or {}).get("matchExpressions") or ()
    if not wanted and not expressions:
        return False
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _holds(expression, labels) for expression in expressions
    )


def _holds(expression: Object, labels: dict[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


def claim(
    owner: Object, selector: Object | None, owned: Iterable[Object], others: Iterable[Object]
) -> Claim:
    """Sort what the owner controls and what nobody controls by the owner's selector."""
    kept: list[Object] = []
    release: list[Object] = []
    for obj in owned:
        keep = selector is None or matches(selector, meta.labels(obj))
        (kept if keep else release).append(obj)
    adopt: list[Object] = []
    if not meta.is_deleting(owner):
        adopt = [
            obj
            for obj in others
            if meta.controller_of(obj) is None
            and not meta.is_deleting(obj)
            and matches(selector, meta.labels(obj))
        ]
    return Claim(kept, adopt, release)


def adoption(obj: Object, owner: Object) -> Object:
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
