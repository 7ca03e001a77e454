"""Sets of fields, as ``fieldsV1`` writes them, and their algebra. Pure, linear in the sets' size.

A set is a tree of steps: ``f:<name>`` a field, ``k:<keys>`` the list element of those keys,
``v:<value>`` a value of a set, ``i:<index>``. A step is a member where it leads to ``{}``, or to
steps among which is ``"."``. So ``{"f:a": {"f:b": {}, ".": {}}}`` holds ``a`` and ``a.b``, and
``{}`` is the empty set. Sets are shared and never modified; a result may share parts with both.
Source: k8s.io/apimachinery FieldsV1, sigs.k8s.io/structured-merge-diff fieldpath.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

FieldSet = dict[str, Any]
#: Says that the step which leads here is itself a member.
SELF = "."
#: A member with nothing below it.
LEAF: FieldSet = {}
#: The deepest that fields are owned one by one: what lies deeper belongs to the field above it.
MOST_LEVELS = 100

_MOST_SHOWN = 256  # characters of a step in a path
_SORTED = orjson.OPT_SORT_KEYS


def field_step(name: str) -> str:
    """The step to a field of that name."""
    return "f:" + name


def key_step(keys: dict[str, Any]) -> str:
    """The step to the list element with those keys."""
    return "k:" + orjson.dumps(keys, option=_SORTED).decode()


def value_step(value: Any) -> str:
    """The step to that value of a set."""
    return "v:" + orjson.dumps(value, option=_SORTED).decode()


def normalize(found: Any, level: int = 0) -> FieldSet:
    """A set as a client wrote it, in the one form that equal sets share.

    Raises:
        ValueError: it is none, or nests deeper than any set of ours.
    """
    if not isinstance(found, dict) or level > MOST_LEVELS + 1:
        raise ValueError("fieldsV1 must be an object of steps, of no more levels than we write")
    result: FieldSet = {}
    for step, below in found.items():
        if step == SELF:
            if level:
                result[SELF] = LEAF
        else:
            result[_normalize_step(step)] = normalize(below, level + 1)
    return LEAF if result.keys() == {SELF} else result


def _normalize_step(step: str) -> str:
    sort, _, rest = step.partition(":")
    if sort == "f":
        return step
    if sort == "i":
        return f"i:{int(rest)}"
    value = orjson.loads(rest)
    if sort == "v":
        return value_step(value)
    if sort == "k" and isinstance(value, dict):
        return key_step(value)
    raise ValueError(f"no step of a set of fields: {step[:80]!r}")


def is_member(node: FieldSet) -> bool:
    """Whether the step that leads to this node is a member itself."""
    return not node or SELF in node


def union(one: FieldSet, other: FieldSet) -> FieldSet:
    """The fields that are in one of both."""
    if not one or not other:
        return one or other
    return _merge(one, other)


def _merge(one: FieldSet, other: FieldSet) -> FieldSet:
    result = dict(one)
    for step, below in other.items():
        mine = result.get(step)
        result[step] = below if mine is None else _join(mine, below)
    return result


def _join(one: FieldSet, other: FieldSet) -> FieldSet:
    if one and other:
        return _merge(one, other)
    found = one or other
    return found if not found or SELF in found else {**found, SELF: LEAF}


def union_all(sets: Iterable[FieldSet]) -> FieldSet:
    """The fields that are in any of them, in the time that all of them take to read."""
    result: FieldSet = {}
    for found in sets:
        _absorb(result, found)
    return _tidy(result)


def _absorb(result: FieldSet, found: FieldSet) -> None:
    # While it grows each member is marked by SELF alone, so that nothing is copied twice.
    for step, below in found.items():
        if step == SELF:
            continue
        mine = result.setdefault(step, {})
        if is_member(below):
            mine[SELF] = LEAF
        _absorb(mine, below)


def _tidy(found: FieldSet) -> FieldSet:
    return {
        step: LEAF if step == SELF or below.keys() == {SELF} else _tidy(below)
        for step, below in found.items()
    }


def difference(one: FieldSet, other: FieldSet) -> FieldSet:
    """The fields of one that are not in the other; the very same set where that is all of them."""
    if not one or not other:
        return one
    changed: dict[str, FieldSet | None] = {}
    for step, below in _shared(one, other):
        left = _subtract(one[step], below)
        if left is not one[step]:
            changed[step] = left
    return _replace(one, changed)


def _subtract(one: FieldSet, other: FieldSet) -> FieldSet | None:
    """The node without the other's members; None when nothing is left."""
    below = difference(one, other)
    if not is_member(one):
        return below or None
    if not is_member(other):
        return below or LEAF if one else one
    return {step: found for step, found in below.items() if step != SELF} or None


def _shared(one: FieldSet, other: FieldSet) -> Iterator[tuple[str, FieldSet]]:
    """The steps in both, without SELF, with the other's node; the smaller set is walked."""
    if len(one) <= len(other):
        return ((step, other[step]) for step in one if step != SELF and step in other)
    return ((step, below) for step, below in other.items() if step != SELF and step in one)


def _replace(one: FieldSet, changed: dict[str, FieldSet | None]) -> FieldSet:
    if not changed:
        return one
    result: FieldSet = {}
    for step, below in one.items():
        left = changed.get(step, below) if step in changed else below
        if left is not None:
            result[step] = left
    return LEAF if result.keys() == {SELF} else result


def intersection(one: FieldSet, other: FieldSet) -> FieldSet:
    """The fields that are in both."""
    result: FieldSet = {}
    for step, theirs in _shared(one, other):
        mine = one[step]
        below = intersection(mine, theirs)
        if is_member(mine) and is_member(theirs):
            result[step] = {**below, SELF: LEAF} if below else LEAF
        elif below:
            result[step] = below
    return result


def without(one: FieldSet, other: FieldSet) -> FieldSet:
    """The fields of one that are neither in the other nor below one of its members."""
    changed: dict[str, FieldSet | None] = {}
    for step, below in _shared(one, other):
        mine = one[step]
        if is_member(below):
            changed[step] = None
        elif mine:
            left = without(mine, below)
            changed[step] = left or (LEAF if SELF in mine else None)
    return _replace(one, changed)


def count(found: FieldSet) -> int:
    """How many members it has."""
    return sum(is_member(below) + count(below) for step, below in found.items() if step != SELF)


def paths(found: FieldSet) -> Iterator[str]:
    """Each member as upstream writes it: ``.spec.containers[name="a"].image``."""
    return _paths(found, "")


def _paths(found: FieldSet, place: str) -> Iterator[str]:
    for step, below in sorted(found.items()):
        if step == SELF:
            continue
        here = place + render(step)
        if is_member(below):
            yield here
        yield from _paths(below, here)


def render(step: str) -> str:
    """A step as it stands in a path; a long one is cut short."""
    text = _render(step)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def _render(step: str) -> str:
    sort, _, rest = step.partition(":")
    if sort == "f":
        return f".{rest}"
    if sort == "v":
        return f"[={rest}]"
    if sort == "i":
        return f"[{rest}]"
    keys = orjson.loads(rest)
    inner = ",".join(f"{name}={orjson.dumps(value).decode()}" for name, value in keys.items())
    return f"[{inner}]"
