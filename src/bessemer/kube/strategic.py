"""Strategic merge patch: lists of built-in kinds merge by key, or as sets.

Which way a list merges stands in the schema table. Directives: ``$patch`` (replace, delete,
merge), ``$retainKeys``, ``$deleteFromPrimitiveList/<list>``, ``$setElementOrder/<list>``.
Source: k8s.io/apimachinery/pkg/util/strategicpatch.
"""

from __future__ import annotations

import operator
from collections import Counter, deque
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from bessemer.kinds import schemas
from bessemer.kinds.kind import Object
from bessemer.kube.errors import BadRequest

_DELETE_FROM = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"
_MOST_REPEATS = 100


class _Rule(NamedTuple):
    """How two values of one field are merged."""

    type_name: str = ""  # of the object, or of the list's elements; empty: plain values
    is_list: bool = False
    is_map: bool = False
    merges: bool = False  # a list whose elements merge
    key: str = ""  # the element's field that tells which is which; empty: a set of values


def merge(type_name: str, current: Object, patch: Object) -> Object:
    """The current object of that schema type, patched.

    Raises:
        BadRequest: a directive that can't be read.
    """
    directive = patch.get("$patch")
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != "$patch"}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise BadRequest(f"Unknown patch type found: {directive}")
    result = dict(current)
    _retain(result, patch)
    described = schemas.fields(type_name)
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        rule = _rule(described.get(key))
        if value is None:
            result.pop(key, None)
        elif rule.is_list:
            result[key] = _merge_list(rule, result.get(key), value)
        elif isinstance(value, dict):
            result[key] = _merge_object(rule, result.get(key), value)
        else:
            result[key] = value
    _apply_list_directives(result, patch, described, current)
    return result


def _rule(described: Any) -> _Rule:
    if isinstance(described, str):
        return _Rule(type_name=described[1:] if described.startswith("@") else "")
    if not isinstance(described, dict):
        return _Rule()
    if "map" in described:
        return _Rule(is_map=True)
    if "type" in described:
        return _rule(described["type"])
    element = described["list"]
    name = element[1:] if isinstance(element, str) and element.startswith("@") else ""
    merges = "merge" in described.get("strategy", "").split(",")
    return _Rule(name, is_list=True, merges=merges, key=described.get("merge", ""))


def _retain(result: Object, patch: Object) -> None:
    kept = patch.get("$retainKeys")
    if kept is None:
        return
    if not isinstance(kept, list):
        raise BadRequest("$retainKeys must be a list of field names")
    for key in [key for key in result if key not in kept]:
        del result[key]


def _merge_object(rule: _Rule, current: Any, value: Object) -> Object:
    return merge(rule.type_name, current if isinstance(current, dict) else {}, value)


def _merge_list(rule: _Rule, current: Any, patch: Any) -> list[Any]:
    if not isinstance(patch, list):
        raise BadRequest(f"a list is patched by a list, but got {type(patch).__name__}")
    found: list[Any] = list(current) if isinstance(current, list) else []
    if not rule.merges:
        return [entry for entry in patch if not _is_directive(entry)]
    if rule.key:
        merged = _merge_by_key(rule, found, patch)
    else:
        merged = list({_mark(entry): entry for entry in (*found, *patch)}.values())
    return _order(rule, merged, patch, found)


def _mark(value: Any) -> str | bytes:
    """What is equal for equal values, and quick to look up: lists may be as long as a body."""
    return value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _is_directive(entry: Any) -> bool:
    return isinstance(entry, dict) and "$patch" in entry


def _merge_by_key(rule: _Rule, found: list[Any], patch: list[Any]) -> list[Any]:
    if {"$patch": "replace"} in patch:
        return [entry for entry in patch if not _is_directive(entry)]
    for entry in patch:
        if not isinstance(entry, dict) or rule.key not in entry:
            raise BadRequest(
                f"map: {repr(entry)[:200]} does not contain declared merge key: {rule.key}"
            )
    _refuse_repeats(rule.key, patch)
    gone = {_mark(entry[rule.key]) for entry in patch if entry.get("$patch") == "delete"}
    merged = [item for item in found if _mark(item.get(rule.key)) not in gone]
    places: dict[str | bytes, int] = {}
    for place, item in enumerate(merged):
        places.setdefault(_mark(item.get(rule.key)), place)
    for entry in patch:
        if entry.get("$patch") == "delete":
            continue
        place = places.setdefault(_mark(entry[rule.key]), len(merged))
        if place == len(merged):
            merged.append({})
        merged[place] = merge(rule.type_name, merged[place], entry)
    return merged


def _refuse_repeats(key: str, patch: list[Any]) -> None:
    """Refuse a list that names one element again and again: each time all in it is merged anew."""
    times = Counter(_mark(entry[key]) for entry in patch)
    mark, most = max(times.items(), key=operator.itemgetter(1), default=("", 0))
    if most > _MOST_REPEATS:
        raise BadRequest(
            f"a patch's list may name one element {_MOST_REPEATS} times, but {str(mark)[:80]!r} "
            f"is named {most} times as {key}: put its changes into one"
        )


def _apply_list_directives(result: Object, patch: Object, described: Any, current: Object) -> None:
    for key, values in patch.items():
        if key.startswith(_DELETE_FROM):
            name = key.removeprefix(_DELETE_FROM)
            gone = {_mark(value) for value in _as_list(key, values)}
            if isinstance(items := result.get(name), list):
                result[name] = [item for item in items if _mark(item) not in gone]
    for key, order in patch.items():
        if key.startswith(_ORDER):
            name = key.removeprefix(_ORDER)
            order = _as_list(key, order)
            if isinstance(items := result.get(name), list):
                before = current.get(name)
                server = before if isinstance(before, list) else []
                result[name] = _order(_rule(described.get(name)), items, order, server)


def _as_list(directive: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise BadRequest(f"{directive} must be a list, but got {type(value).__name__}")
    return value


def _order(rule: _Rule, items: list[Any], wanted: list[Any], server: list[Any]) -> list[Any]:
    """The items in upstream's order (``mergeSortedSlice``).

    Those that ``wanted`` (the patch, or its ``$setElementOrder``) names come in its order. Each of
    the others comes before the first of them that it stood before on the server; so what is new
    there goes to the front of what the patch doesn't name.
    """

    def identity(item: Any) -> str | bytes:
        return _mark(item.get(rule.key) if rule.key and isinstance(item, dict) else item)

    ranks, places = _positions(map(identity, wanted)), _positions(map(identity, server))
    marked = [(identity(item), item) for item in items]
    named = sorted(
        ((mark, item) for mark, item in marked if mark in ranks), key=lambda one: ranks[one[0]]
    )
    others = deque((mark, item) for mark, item in marked if mark not in ranks)
    result: list[Any] = []
    for mark, item in named:
        place = places.get(mark)
        while place is not None and others and places.get(others[0][0], place) < place:
            result.append(others.popleft()[1])
        result.append(item)
    return result + [item for _, item in others]


def _positions(marks: Iterable[str | bytes]) -> dict[str | bytes, int]:
    """Where each stands first."""
    found: dict[str | bytes, int] = {}
    for place, mark in enumerate(marks):
        found.setdefault(mark, place)
    return found
