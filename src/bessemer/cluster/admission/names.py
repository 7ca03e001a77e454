"""Metadata: names, labels, annotations, owners, finalizers.

The API machine has given a new object its name and keeps what no update may change.

Source: k8s.io/apimachinery pkg/api/validation/objectmeta.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bessemer.kinds import rules
from bessemer.kinds.kind import Cause, Kind, Object

_ANNOTATIONS_LIMIT = 256 * 1024  # bytes, keys and values together

_Rule = Callable[[str, str], list[Cause]]
_RULES: Mapping[str, _Rule] = {
    "namespaces": rules.label,
    "services": rules.label_1035,
    "inferenceservices.serving.kserve.io": rules.label_1035,
    "roles.rbac.authorization.k8s.io": rules.path_segment,
    "rolebindings.rbac.authorization.k8s.io": rules.path_segment,
    "clusterroles.rbac.authorization.k8s.io": rules.path_segment,
    "clusterrolebindings.rbac.authorization.k8s.io": rules.path_segment,
}


def check(kind: Kind, new: Object, old: Object | None) -> list[Cause]:
    """The rules that metadata breaks."""
    metadata = new["metadata"]
    causes: list[Cause] = []
    if old is None:
        causes += _RULES.get(kind.resource, rules.subdomain)("metadata.name", metadata["name"])
    if labels := metadata.get("labels"):
        causes += rules.labels("metadata.labels", labels)
    if annotations := metadata.get("annotations"):
        causes += _check_annotations(annotations)
    for index, owner in enumerate(metadata.get("ownerReferences") or ()):
        path = f"metadata.ownerReferences[{index}]"
        causes += [
            rules.bad(f"{path}.{key}", owner.get(key, ""), f"{key} must not be empty")
            for key in ("apiVersion", "kind", "name", "uid")
            if not owner.get(key)
        ]
    for finalizer in metadata.get("finalizers") or ():
        if len(causes) > rules.MOST_CAUSES:
            break
        causes += rules.qualified_name("metadata.finalizers", finalizer)
    return causes


def _check_annotations(annotations: dict[str, str]) -> list[Cause]:
    causes: list[Cause] = []
    size = 0
    for key, value in annotations.items():
        size += len(key) + len(value)
        if len(causes) > rules.MOST_CAUSES:
            break
        causes += rules.qualified_name("metadata.annotations", key.lower())
    if size > _ANNOTATIONS_LIMIT:
        causes.append(rules.too_long("metadata.annotations", _ANNOTATIONS_LIMIT))
    return causes
