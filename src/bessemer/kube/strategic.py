"""Strategic merge patch: lists of built-in kinds merge by key, or as sets.

Which way a list merges stands in the schema table. Directives: ``$patch`` (replace, delete,
merge), ``$retainKeys``, ``$deleteFromPrimitiveList/<list>``, ``$setElementOrder/<list>``.
Source: k8s.io/apimachinery/pkg/util/strategicpatch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from bessemer.kube.errors import BadRequest
from bessemer.resources import schemas
from bessemer.resources.kind import Object

_DELETE_FROM = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"


class _Rule(NamedTuple):
    """How one field merges."""

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
    _apply_list_directives(result, patch, described)
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
    if not rule.key:
        return [*found, *(entry for entry in patch if entry not in found)]
    return _merge_by_key(rule, found, patch)


def _is_directive(entry: Any) -> bool:
    return isinstance(entry, dict) and "$patch" in entry


def _merge_by_key(rule: _Rule, found: list[Any], patch: list[Any]) -> list[Any]:
    if {"$patch": "replace"} in patch:
        return [entry for entry in patch if not _is_directive(entry)]
    fresh: list[Any] = []
    for entry in patch:
        if not isinstance(entry, dict) or rule.key not in entry:
            raise BadRequest(f"map: {entry!r} does not contain declared merge key: {rule.key}")
        identity = entry[rule.key]
        places = [i for i, item in enumerate(found) if item.get(rule.key) == identity]
        if entry.get("$patch") == "delete":
            found = [item for item in found if item.get(rule.key) != identity]
        elif places:
            found[places[0]] = merge(rule.type_name, found[places[0]], entry)
        else:
            fresh.append(merge(rule.type_name, {}, entry))
    return found + fresh


def _apply_list_directives(result: Object, patch: Object, described: Any) -> None:
    for key, values in patch.items():
        if key.startswith(_DELETE_FROM):
            name = key.removeprefix(_DELETE_FROM)
            kept = [item for item in result.get(name) or () if item not in values]
            if name in result:
                result[name] = kept
    for key, order in patch.items():
        if key.startswith(_ORDER):
            name = key.removeprefix(_ORDER)
            if name in result:
                result[name] = _reorder(_rule(described.get(name)), result[name], order)


def _reorder(rule: _Rule, items: list[Any], order: Any) -> list[Any]:
    """The items in the asked order; those that the order doesn't name stay where they were."""
    if not isinstance(order, list):
        raise BadRequest("$setElementOrder must be a list")

    def identity(item: Any) -> Any:
        return item.get(rule.key) if rule.key and isinstance(item, dict) else item

    wanted = [identity(entry) for entry in order]
    named = [item for item in items if identity(item) in wanted]
    named.sort(key=lambda item: wanted.index(identity(item)))
    # Server-only items keep their neighbours: each goes before the named one it stood before.
    result: list[Any] = []
    places = {id(item): place for place, item in enumerate(items)}
    others = [item for item in items if identity(item) not in wanted]
    for item in named:
        while others and places[id(others[0])] < places[id(item)]:
            result.append(others.pop(0))
        result.append(item)
    return result + others
