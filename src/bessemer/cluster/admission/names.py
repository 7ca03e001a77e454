"""Metadata: names, labels, annotations, owners, finalizers; and what of it may not change.

Source: k8s.io/apimachinery pkg/api/validation/objectmeta.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bessemer.resources import rules
from bessemer.resources.kind import Cause, Kind, Object

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
_FIXED = ("name", "namespace", "uid", "creationTimestamp")


def check(kind: Kind, new: Object, old: Object | None) -> list[Cause]:
    """The rules that metadata breaks."""
    metadata = new["metadata"]
    causes = [] if old is not None else _check_name(kind, metadata)
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
        causes += rules.qualified_name("metadata.finalizers", finalizer)
    if old is not None:
        causes += _check_fixed(metadata, old["metadata"])
    return causes


def _check_name(kind: Kind, metadata: Object) -> list[Cause]:
    name = metadata.get("name")
    rule = _RULES.get(kind.resource, rules.subdomain)
    if name:
        return rule("metadata.name", name)
    prefix = metadata.get("generateName")
    if prefix:
        # The suffix that will follow makes a trailing dash fine.
        return rule("metadata.generateName", prefix.rstrip("-") if len(prefix) > 1 else prefix)
    return [rules.required("metadata.name", "name or generateName is required")]


def _check_annotations(annotations: dict[str, str]) -> list[Cause]:
    causes = []
    size = 0
    for key, value in annotations.items():
        size += len(key) + len(value)
        causes += rules.qualified_name("metadata.annotations", key.lower())
    if size > _ANNOTATIONS_LIMIT:
        causes.append(rules.too_long("metadata.annotations", _ANNOTATIONS_LIMIT))
    return causes


def _check_fixed(metadata: Object, old: Object) -> list[Cause]:
    return [
        rules.immutable(f"metadata.{key}", metadata[key])
        for key in _FIXED
        if metadata.get(key) and old.get(key) and metadata[key] != old[key]
    ]
