"""The annotation of client-side apply, which server-side apply by kubectl takes over. Pure.

Source: k8s.io/apimachinery pkg/util/managedfields/internal lastapplied*.go.
"""

from __future__ import annotations

from typing import Any

import orjson

from bessemer.cluster.apiserver.fieldmanager import fieldsets, mergetypes, objects
from bessemer.cluster.apiserver.fieldmanager.fieldsets import FieldSet
from bessemer.kinds import meta
from bessemer.kinds.kind import Kind, Object

ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
#: Whose applies mind the annotation.
KUBECTL = "kubectl"
# Bytes that all annotations may have together; what doesn't fit is not remembered.
_MOST_BYTES = 256 * 1024


def undisputed(kind: Kind, live: Object) -> FieldSet:
    """The fields that client-side apply stated last and that nobody changed since."""
    text = meta.annotations(live).get(ANNOTATION)
    if not text:
        return {}
    try:
        stated: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(stated, dict) or stated.get("apiVersion") != kind.api_version:
        return {}
    type_ = mergetypes.of(kind)
    changed, gone = objects.compare(type_, stated, live)
    return fieldsets.difference(
        objects.stated_fields(type_, stated), fieldsets.union(changed, gone)
    )


def remember(merged: Object, stated: Object) -> Object:
    """The merged object, whose annotation, if it has one, tells what was applied now."""
    annotations = meta.annotations(merged)
    if ANNOTATION not in annotations:
        return merged
    text = orjson.dumps(stated).decode() + "\n"
    others = sum(len(key) + len(value) for key, value in annotations.items() if key != ANNOTATION)
    if others + len(ANNOTATION) + len(text) > _MOST_BYTES:
        text = ""
    metadata = {**merged["metadata"], "annotations": {**annotations, ANNOTATION: text}}
    return {**merged, "metadata": metadata}
