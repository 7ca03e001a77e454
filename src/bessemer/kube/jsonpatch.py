"""JSON patches (RFC 6902), in a time that goes with the size of object and patch. Pure.

What the operations change is copied once, at its first change, however many follow; so the object
given stays as it was. Source: RFC 6902; k8s.io/apiserver/pkg/endpoints/handlers/patch.go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from bessemer.kinds.kind import Object
from bessemer.kube.errors import BadRequest, Invalid

# Upstream's limits on one JSON patch: so many operations, and bytes that they copy.
_MAX_OPERATIONS = 10_000
_MAX_COPIED = 3 * 1024 * 1024
# And ours: list elements that move because one before them came or went. Ten thousand insertions
# at the front of a list of five thousand are still taken.
_MAX_MOVED = 50_000_000


class _Misfit(ValueError):
    """An operation does not fit the object."""


def apply(current: Object, patch: Any) -> Object:
    """The object after all operations; it may share parts with the current one and the patch.

    Raises:
        BadRequest: it is no JSON patch, or one with too many operations.
        Invalid: an operation doesn't fit the object, or all of them copy or move too much.
    """
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
    document = _Document(current)
    for operation in patch:
        try:
            _operate(document, operation)
        except _Misfit as error:
            # Empty details, as upstream: with a kind in them kubectl leaves the message out.
            raise Invalid(
                f"the server rejected our request due to an error in our request: {error}", {}
            ) from error
    if not isinstance(document.root, dict):
        raise Invalid("the patched object is no object any more")
    return document.root


def _operate(document: _Document, operation: Any) -> None:
    if not isinstance(operation, dict) or not isinstance(operation.get("op"), str):
        raise BadRequest(
            f"a JSON patch operation needs op and path, but got {str(operation)[:200]}"
        )
    name = operation["op"]
    act = _OPERATIONS.get(name)
    if act is None:
        raise _Misfit(f"Unexpected kind: {name}")
    act(document, operation)


class _Document:
    """The object while it is patched."""

    def __init__(self, root: Any) -> None:
        self.root = root
        # Containers that are nobody's but ours, by id; kept alive, so that no id comes again.
        self._own: dict[int, Any] = {}
        self._copied = 0
        self._moved = 0

    def read(self, steps: list[str]) -> Any:
        """The value that is at the pointer."""
        found = self.root
        for step in steps:
            found = found[_place(found, step, steps)]
        return found

    def holder(self, steps: list[str]) -> Any:
        """What holds the last step, ours to change, as are all containers on the way to it."""
        holder = self.root = self._take(self.root, steps)
        for step in steps[:-1]:
            place = _place(holder, step, steps)
            holder[place] = self._take(holder[place], steps)
            holder = holder[place]
        return holder

    def _take(self, container: Any, steps: list[str]) -> Any:
        if id(container) in self._own:
            return container
        if not isinstance(container, dict | list):
            raise _missing(steps)
        copy = container.copy()
        self._own[id(copy)] = copy
        return copy

    def put(self, steps: list[str], value: Any) -> None:
        """Set a field, or insert into a list."""
        if not steps:
            self.root = value
            return
        holder, step = self.holder(steps), steps[-1]
        if isinstance(holder, dict):
            holder[step] = value
        elif step == "-":
            holder.append(value)
        else:
            index = _index(holder, step, last=len(holder))
            self._count_moved(len(holder) - index)
            holder.insert(index, value)

    def cut(self, steps: list[str]) -> None:
        """Remove a field or an element."""
        if not steps:
            raise _Misfit("remove operation does not apply: the whole object can't be removed")
        holder, step = self.holder(steps), steps[-1]
        if isinstance(holder, list):
            index = _index(holder, step, last=len(holder) - 1)
            self._count_moved(len(holder) - index)
            del holder[index]
        elif step in holder:
            del holder[step]
        else:
            raise _Misfit(f"Unable to remove nonexistent key: {step}: missing value")

    def copy(self, steps: list[str]) -> Any:
        """A copy of what is there, for another place: a change of one changes not the other."""
        data = orjson.dumps(self.read(steps))
        self._copied += len(data)
        if self._copied > _MAX_COPIED:
            raise _Misfit(f"copy operations may copy {_MAX_COPIED} bytes, got {self._copied}")
        return orjson.loads(data)

    def _count_moved(self, elements: int) -> None:
        self._moved += elements
        if self._moved > _MAX_MOVED:
            raise _Misfit(
                f"operations may move {_MAX_MOVED} elements of lists, got {self._moved}: replace "
                "the list, or work from its end"
            )


def _place(container: Any, step: str, steps: list[str]) -> Any:
    if isinstance(container, dict) and step in container:
        return step
    if isinstance(container, list):
        return _index(container, step, last=len(container) - 1)
    raise _missing(steps)


def _missing(steps: list[str]) -> _Misfit:
    return _Misfit(f"doc is missing path: /{'/'.join(steps)}: missing value")


def _index(items: list[Any], step: str, *, last: int) -> int:
    digits = step.removeprefix("-")
    # No list here is as long as a number of ten digits.
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 10:
        raise _Misfit(f"{step!r} is no index of a list")
    index = int(step)
    if index < 0:
        index += len(items)
    if not 0 <= index <= last:
        raise _Misfit(f"unable to access invalid index: {step}")
    return index


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


# ---- the operations


def _add(document: _Document, operation: Mapping[str, Any]) -> None:
    document.put(_steps(operation), _value(operation))


def _remove(document: _Document, operation: Mapping[str, Any]) -> None:
    document.cut(_steps(operation))


def _replace(document: _Document, operation: Mapping[str, Any]) -> None:
    steps, value = _steps(operation), _value(operation)
    if not steps:
        document.root = value
        return
    holder, step = document.holder(steps), steps[-1]
    if isinstance(holder, list):
        holder[_index(holder, step, last=len(holder) - 1)] = value
    elif step in holder:
        holder[step] = value
    else:
        raise _Misfit(
            f"replace operation does not apply: doc is missing key: {operation['path']}: "
            "missing value"
        )


def _move(document: _Document, operation: Mapping[str, Any]) -> None:
    source, target = _steps(operation, "from"), _steps(operation)
    if target[: len(source)] == source and target != source:
        raise _Misfit("move operation does not apply: an object can't move into itself")
    value = document.read(source)
    document.cut(source)
    document.put(target, value)


def _copy(document: _Document, operation: Mapping[str, Any]) -> None:
    target = _steps(operation)
    document.put(target, document.copy(_steps(operation, "from")))


def _test(document: _Document, operation: Mapping[str, Any]) -> None:
    path = operation.get("path")
    try:
        found = document.read(_steps(operation))
    except _Misfit:
        found = None
    if found != operation.get("value"):
        raise _Misfit(f"testing path {path} failed: test failed")


_OPERATIONS: Mapping[str, Callable[[_Document, Mapping[str, Any]], None]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}
