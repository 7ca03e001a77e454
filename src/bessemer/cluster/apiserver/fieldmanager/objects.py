"""The fields of an object: which it has, how two differ, merging, taking some away. Pure.

Every function walks a value once beside its type; objects given are never modified, and results
may share parts with them. What nests deeper than ``MOST_LEVELS`` is owned as a whole.
Source: sigs.k8s.io/structured-merge-diff typed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from bessemer.cluster.apiserver.fieldmanager.fieldsets import (
    LEAF,
    MOST_LEVELS,
    SELF,
    FieldSet,
    is_member,
)
from bessemer.cluster.apiserver.fieldmanager.mergetypes import WHOLE, MergeType, Shape
from bessemer.kinds.kind import Object

# So many levels are compared at once before each is walked: what is equal costs next to nothing,
# and yet a deep object is not read again at each of its levels.
_COMPARED_AT_ONCE = 8
_LISTS = (Shape.SET, Shape.KEYED)


class Difference(NamedTuple):
    """How an object became another."""

    changed: FieldSet  # new, or of another value
    gone: FieldSet


def _is_open(type_: MergeType, value: Any, level: int) -> bool:
    """Whether the value is owned by its parts."""
    if level >= MOST_LEVELS:
        return False
    if type(value) is dict:
        return type_.shape is Shape.MAP or type_.shape is Shape.FREE
    return type(value) is list and type_.shape in _LISTS


def every_field(type_: MergeType, value: Any) -> FieldSet:
    """All fields of an object, the ones that hold others included: what is new in a new object."""
    found = _every(type_, value, 0)
    return {step: below for step, below in found.items() if step != SELF}


def _every(type_: MergeType, value: Any, level: int) -> FieldSet:
    if not value or not _is_open(type_, value, level):
        return LEAF
    found: FieldSet = {SELF: LEAF}
    level += 1
    if type(value) is list:
        element = type_.element or WHOLE
        for item in value:
            found[type_.step(item)] = _every(element, item, level)
        return found
    fields, others = type_.fields, type_.element or WHOLE
    for name, inner in value.items():
        named = fields.get(name)
        if named is None:
            found["f:" + name] = _every(others, inner, level)
        elif named[1] is WHOLE:
            found[named[0]] = LEAF
        else:
            found[named[0]] = _every(named[1], inner, level)
    return found


def stated_fields(type_: MergeType, value: Any) -> FieldSet:
    """The fields that an object states a value of: what whoever applies it owns."""
    return _stated(type_, value, 0) or {}


def _stated(type_: MergeType, value: Any, level: int) -> FieldSet | None:
    """The fields below; LEAF for a plain value; None where nothing is stated."""
    if type(value) not in (dict, list) or not _is_open(type_, value, level):
        return LEAF
    found: FieldSet = {}
    if type(value) is list:
        element = type_.element or WHOLE
        for item in value:
            below = _stated(element, item, level + 1)
            found[type_.step(item)] = {SELF: LEAF, **below} if below else LEAF
        return found or None
    for name, inner in value.items():
        below = _stated(type_.of_field(name), inner, level + 1)
        if inner is None or inner == {}:
            found["f:" + name] = LEAF
        elif name not in type_.fields:
            found["f:" + name] = {SELF: LEAF, **below} if below else LEAF
        elif below is not None:
            found["f:" + name] = below
    return found or None


def compare(type_: MergeType, old: Any, new: Any) -> Difference:
    """What changed and what is gone."""
    changed, gone = _compare(type_, old, new, 0)
    return Difference(changed or {}, gone or {})


_Nodes = tuple[FieldSet | None, FieldSet | None]
_SAME: _Nodes = (None, None)


def _compare(type_: MergeType, old: Any, new: Any, level: int) -> _Nodes:
    """The changed and the gone node, each None where there is none."""
    if not (_is_open(type_, old, level) and _is_open(type_, new, level)) or not (old or new):
        return _compare_whole(type_, old, new, level)
    if type(new) is not type(old):
        return _compare_whole(type_, old, new, level)
    changed: FieldSet = {}
    gone: FieldSet = {}
    at_once = level < _COMPARED_AT_ONCE
    level += 1
    for step, inner, before, after in _pairs(type_, old, new):
        if before is _ABSENT:
            changed[step] = _every(inner, after, level)
        elif after is _ABSENT:
            gone[step] = _every(inner, before, level)
        elif not at_once or before != after:
            theirs, lost = _compare(inner, before, after, level)
            if theirs is not None:
                changed[step] = theirs
            if lost is not None:
                gone[step] = lost
    return changed or None, gone or None


def _compare_whole(type_: MergeType, old: Any, new: Any, level: int) -> _Nodes:
    if old == new:
        return _SAME
    # What was owned by its parts and is no more: those are gone.
    lost = _every(type_, old, level) if old and _is_open(type_, old, level) else LEAF
    return LEAF, {step: below for step, below in lost.items() if step != SELF} or None


class _Absent:
    """Stands for a value that is not there; None is one that is."""


_ABSENT = _Absent()


def _pairs(type_: MergeType, old: Any, new: Any) -> Iterator[tuple[str, MergeType, Any, Any]]:
    """Each part of two maps or lists that is not one and the same: step, type, both values."""
    if type(new) is dict:
        for name, value in new.items():
            before = old.get(name, _ABSENT)
            if before is not value:
                yield "f:" + name, type_.of_field(name), before, value
        for name, value in old.items():
            if name not in new:
                yield "f:" + name, type_.of_field(name), value, _ABSENT
        return
    element = type_.element or WHOLE
    known, wanted = _by_step(type_, old), _by_step(type_, new)
    for step, items in (known | wanted).items():
        theirs, ours = known.get(step, []), wanted.get(step, [])
        if len(theirs) > 1 or len(ours) > 1:
            # Nothing tells elements of the same keys apart: they are one whole.
            yield step, WHOLE, theirs or _ABSENT, items if ours else _ABSENT
        else:
            yield step, element, _only(theirs), _only(ours)


def _only(items: list[Any]) -> Any:
    return items[0] if items else _ABSENT


def _by_step(type_: MergeType, items: list[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for item in items:
        found.setdefault(type_.step(item), []).append(item)
    return found


def merge(type_: MergeType, live: Object, stated: Object) -> Object:
    """The live object with what the other one states."""
    result: Object = _merge(type_, live, stated, 0)
    return result


def _merge(type_: MergeType, live: Any, stated: Any, level: int) -> Any:
    if type(live) is not type(stated) or not _is_open(type_, live, level):
        # A null states nothing of what is owned by its parts.
        return live if stated is None and live and _is_open(type_, live, level) else stated
    if type(stated) is list:
        return _merge_list(type_, live, stated, level + 1)
    result = dict(live)
    for name, value in stated.items():
        if name in live:
            result[name] = _merge(type_.of_field(name), live[name], value, level + 1)
        else:
            result[name] = value
    return result


def _merge_list(type_: MergeType, live: list[Any], stated: list[Any], level: int) -> list[Any]:
    """The live elements and the stated ones.

    What both have is in the stated order; what only the live list has stays before what it stood
    before.
    """
    element = type_.element or WHOLE
    steps = [type_.step(item) for item in live]
    known: dict[str, list[Any]] = {}
    for step, item in zip(steps, live, strict=True):
        known.setdefault(step, []).append(item)
    merged: dict[str, Any] = {}
    for item in stated:
        step = type_.step(item)
        before = known.get(step, ())
        merged[step] = _merge(element, before[0], item, level) if len(before) == 1 else item
    shared = iter([step for step in merged if step in known])
    wanted = next(shared, None)
    left = iter(merged.items())
    result: list[Any] = []
    for step, item in zip(steps, live, strict=True):
        if step not in merged:
            result.append(item)
        elif step == wanted:
            wanted = next(shared, None)
            for other, value in left:
                result.append(value)
                if other == step:
                    break
    return result + [value for _, value in left]


def remove(type_: MergeType, value: Object, fields: FieldSet) -> Object:
    """The object without those fields, and without what is left empty by that."""
    return _remove(type_, value, fields) or {}


def _remove(type_: MergeType, value: Any, fields: FieldSet) -> Any:
    """The value without them; None when nothing is left."""
    if not fields or not value or type(value) not in (dict, list):
        return value
    if type(value) is list:
        if type_.shape not in _LISTS:
            return value
        kept = [
            _keep(type_.element or WHOLE, item, fields.get(type_.step(item))) for item in value
        ]
        return [item for item in kept if item is not _ABSENT] or None
    parts = (
        (name, _keep(type_.of_field(name), inner, fields.get("f:" + name)))
        for name, inner in value.items()
    )
    return {name: inner for name, inner in parts if inner is not _ABSENT} or None


def _keep(type_: MergeType, value: Any, node: FieldSet | None) -> Any:
    if node is None:
        return value
    if is_member(node):
        return _ABSENT
    left = _remove(type_, value, node)
    return _ABSENT if left is None and value is not None else left


def with_holders(type_: MergeType, fields: FieldSet) -> FieldSet:
    """The fields and the named fields that hold them: who owns a part stands for the whole."""
    result: FieldSet = {}
    for step, below in fields.items():
        if not below:
            result[step] = LEAF
        elif step.startswith("f:"):
            name = step[2:]
            result[step] = with_holders(type_.of_field(name), below)
            if name in type_.fields:
                result[step][SELF] = LEAF
        else:
            result[step] = with_holders(type_.element or WHOLE, below)
    return result
