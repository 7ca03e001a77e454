"""Patches: merge (RFC 7386), JSON (RFC 6902) and strategic merge. Pure.

``apply`` gives a new object; it may share parts with the current one and with the patch, so the
caller copies before it changes anything. JSON patches are in ``jsonpatch``; how lists of built-in
kinds merge stands in ``strategic``. Source: k8s.io/apiserver/pkg/endpoints/handlers/patch.go.
"""

from __future__ import annotations

from typing import Any, cast

from bessemer.kinds.kind import Kind, Object
from bessemer.kube import jsonpatch, strategic
from bessemer.kube.client import PatchType
from bessemer.kube.errors import BadRequest, UnsupportedMediaType


def apply(kind: Kind, current: Object, patch: Any, patch_type: PatchType) -> Object:
    """The current object, patched.

    Raises:
        BadRequest: the patch can't be read.
        Invalid: its operations don't fit the object.
        UnsupportedMediaType: the kind doesn't know this type of patch.
    """
    if patch_type is PatchType.APPLY:
        raise BadRequest("an apply is no patch of an object alone: it needs the API's own verb")
    if patch_type is PatchType.JSON:
        return jsonpatch.apply(current, patch)
    if not isinstance(patch, dict):
        raise BadRequest(
            f"a patch of type {patch_type} must be an object, but got {type(patch).__name__}"
        )
    if patch_type is PatchType.MERGE:
        return cast(Object, merge(current, patch))
    if kind.custom:
        raise UnsupportedMediaType(
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json-patch+json, application/merge-patch+json, "
            "application/apply-patch+yaml"
        )
    return strategic.merge(kind.schema or "", current, patch)


def merge(current: Any, patch: Any) -> Any:
    """RFC 7386: objects merge, null removes, anything else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(current) if isinstance(current, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result
