"""Patches: merge (RFC 7386), JSON (RFC 6902) and strategic merge. Pure.

``apply`` gives a new object; it may share parts with the current one and with the patch, so the
caller copies before it changes anything. How lists of built-in kinds merge stands in
``strategic``. Source: k8s.io/apiserver/pkg/endpoints/handlers/patch.go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import orjson

from bessemer.kube import strategic
from bessemer.kube.client import PatchType
from bessemer.kube.errors import BadRequest, Invalid, UnsupportedMediaType
from bessemer.resources.kind import Kind, Object

# Upstream's limits on one JSON patch: so many operations, and bytes that they copy.
_MAX_OPERATIONS = 10_000
_MAX_COPIED = 3 * 1024 * 1024


def apply(kind: Kind, current: Object, patch: Any, patch_type: PatchType) -> Object:
    """The current object, patched.

    Raises:
        BadRequest: the patch can't be read.
        Invalid: its operations don't fit the object.
        UnsupportedMediaType: the kind doesn't know this type of patch.
    """
    if patch_type is PatchType.JSON:
        return _apply_json(current, patch)
    if not isinstance(patch, dict):
        raise BadRequest(
            f"a patch of type {patch_type} must be an object, but got {type(patch).__name__}"
        )
    if patch_type is PatchType.MERGE:
        return cast(Object, merge(current, patch))
    if kind.custom:
        raise UnsupportedMediaType(
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json-patch+json, application/merge-patch+json"
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


# ---- RFC 6902


class _Misfit(ValueError):
    """An operation does not fit the object."""


def _apply_json(current: Object, patch: Any) -> Object:
    if not isinstance(patch, list):
        raise BadRequest(
            "error decoding patch: json: cannot unmarshal "
            f"{type(patch).__name__} into Go value of type jsonpatch.Patch"
        )
    if len(patch) > _MAX_OPERATIONS:
        raise BadRequest(
            f"The allowed maximum operations in a JSON patch is {_MAX_OPERATIONS}, "
            f"got {len(patch)}"
        )
    document: Any = current
    copied = 0
    for operation in patch:
        try:
            copied = _count_copied(document, operation, copied)
            document = _operate(document, operation)
        except _Misfit as error:
            # Empty details, as upstream: with a kind in them kubectl leaves the message out.
            raise Invalid(
                f"the server rejected our request due to an error in our request: {error}", {}
            ) from error
    if not isinstance(document, dict):
        raise Invalid("the patched object is no object any more")
    return document


def _count_copied(document: Any, operation: Any, copied: int) -> int:
    """The bytes copied after the operation: each copy can double the document."""
    if not isinstance(operation, dict) or operation.get("op") != "copy":
        return copied
    copied += len(orjson.dumps(_read(document, _steps(operation, "from"))))
    if copied > _MAX_COPIED:
        raise _Misfit(f"copy operations may copy {_MAX_COPIED} bytes, got {copied}")
    return copied


def _operate(document: Any, operation: Any) -> Any:
    if not isinstance(operation, dict) or not isinstance(operation.get("op"), str):
        raise BadRequest(f"a JSON patch operation needs op and path, but got {operation!r}")
    name = operation["op"]
    act = _OPERATIONS.get(name)
    if act is None:
        raise _Misfit(f"Unexpected kind: {name}")
    return act(document, operation)


def _steps(operation: Mapping[str, Any], key: str = "path") -> list[str]:
    pointer = operation.get(key)
    if not isinstance(pointer, str):
        raise _Misfit(f"{operation['op']} operation is missing {key}")
    if not pointer:
        return []
    if not pointer.startswith("/"):
        raise _Misfit(f"{key} {pointer!r} must start with /")
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer[1:].split("/")]


def _value(operation: Mapping[str, Any]) -> Any:
    if "value" not in operation:
        raise _Misfit(f"{operation['op']} operation is missing value")
    return operation["value"]


def _index(items: list[Any], step: str, *, last: int) -> int:
    if not step.lstrip("-").isdecimal():
        raise _Misfit(f"{step!r} is no index of a list")
    index = int(step)
    if index < 0:
        index += len(items)
    if not 0 <= index <= last:
        raise _Misfit(f"unable to access invalid index: {step}")
    return index


def _read(document: Any, steps: list[str]) -> Any:
    for step in steps:
        if isinstance(document, dict) and step in document:
            document = document[step]
        elif isinstance(document, list):
            document = document[_index(document, step, last=len(document) - 1)]
        else:
            raise _Misfit(f"doc is missing path: /{'/'.join(steps)}: missing value")
    return document


def _change(document: Any, steps: list[str], act: Callable[[Any, str], None]) -> Any:
    """A copy of the document (along the path only) whose container at the end was changed."""
    result = dict(document) if isinstance(document, dict) else list(_as_list(document, steps))
    if len(steps) == 1:
        act(result, steps[0])
        return result
    inner = _read(result, steps[:1])
    position: Any = (
        steps[0] if isinstance(result, dict) else _index(result, steps[0], last=len(result) - 1)
    )
    result[position] = _change(inner, steps[1:], act)
    return result


def _as_list(document: Any, steps: list[str]) -> list[Any]:
    if not isinstance(document, list):
        raise _Misfit(f"doc is missing path: /{'/'.join(steps)}: missing value")
    return document


def _put(document: Any, steps: list[str], value: Any) -> Any:
    def act(holder: Any, step: str) -> None:
        if isinstance(holder, dict):
            holder[step] = value
        elif step == "-":
            holder.append(value)
        else:
            holder.insert(_index(holder, step, last=len(holder)), value)

    return _change(document, steps, act) if steps else value


def _cut(document: Any, steps: list[str]) -> Any:
    def act(holder: Any, step: str) -> None:
        if isinstance(holder, list):
            del holder[_index(holder, step, last=len(holder) - 1)]
        elif step in holder:
            del holder[step]
        else:
            raise _Misfit(f"Unable to remove nonexistent key: {step}: missing value")

    if not steps:
        raise _Misfit("remove operation does not apply: the whole object can't be removed")
    return _change(document, steps, act)


def _replace(document: Any, operation: Mapping[str, Any]) -> Any:
    steps, value = _steps(operation), _value(operation)

    def act(holder: Any, step: str) -> None:
        if isinstance(holder, list):
            holder[_index(holder, step, last=len(holder) - 1)] = value
        elif step in holder:
            holder[step] = value
        else:
            raise _Misfit(
                f"replace operation does not apply: doc is missing key: {operation['path']}: "
                "missing value"
            )

    return _change(document, steps, act) if steps else value


def _add(document: Any, operation: Mapping[str, Any]) -> Any:
    return _put(document, _steps(operation), _value(operation))


def _remove(document: Any, operation: Mapping[str, Any]) -> Any:
    return _cut(document, _steps(operation))


def _move(document: Any, operation: Mapping[str, Any]) -> Any:
    source = _steps(operation, "from")
    target = _steps(operation)
    if target[: len(source)] == source and target != source:
        raise _Misfit("move operation does not apply: an object can't move into itself")
    value = _read(document, source)
    return _put(_cut(document, source), target, value)


def _copy(document: Any, operation: Mapping[str, Any]) -> Any:
    return _put(document, _steps(operation), _read(document, _steps(operation, "from")))


def _test(document: Any, operation: Mapping[str, Any]) -> Any:
    path = operation.get("path")
    try:
        found = _read(document, _steps(operation))
    except _Misfit:
        found = None
    if found != operation.get("value"):
        raise _Misfit(f"testing path {path} failed: test failed")
    return document


_OPERATIONS: Mapping[str, Callable[[Any, Mapping[str, Any]], Any]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}
