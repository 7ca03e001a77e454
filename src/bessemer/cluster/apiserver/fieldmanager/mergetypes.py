"""Which parts of an object are owned and merged one by one, and which as a whole.

``of`` is the one door: it gives the type of a kind's objects. Built-in kinds have theirs from
``kinds.schemas``; kinds without a schema have maps that are owned key by key and lists that are
owned whole. ``from_structural`` reads the schema of a CustomResourceDefinition.
Source: k8s.io/kube-openapi pkg/schemaconv, sigs.k8s.io/structured-merge-diff schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from bessemer.cluster.apiserver.fieldmanager.fieldsets import key_step, value_step
from bessemer.kinds import schemas
from bessemer.kinds.kind import Kind, Object


class Shape(Enum):
    """How the values of a type are owned."""

    WHOLE = "whole"  # a plain value, or an atomic list or map
    MAP = "map"  # field by field
    SET = "set"  # a list, value by value
    KEYED = "keyed"  # a list, element by element; some fields of an element tell which it is
    FREE = "free"  # unknown: maps are owned key by key, all else is whole


class MergeType:
    """The type of a value. Types may lead back to themselves.

    Attributes:
        fields: of a MAP: its named fields, each with its step and type.
        element: of a MAP: the type of all other keys, None where there are none; of a list: of its
            elements.
        keys: of a KEYED list: the fields that tell its elements apart.
        key_defaults: what a key is where an element doesn't say.
    """

    __slots__ = ("element", "fields", "key_defaults", "keys", "shape")

    def __init__(self, shape: Shape, element: MergeType | None = None) -> None:
        self.shape = shape
        self.fields: dict[str, tuple[str, MergeType]] = {}
        self.element = element
        self.keys: tuple[str, ...] = ()
        self.key_defaults: Mapping[str, Any] = {}

    def add(self, name: str, inner: MergeType) -> None:
        """Give it a named field."""
        self.fields[name] = ("f:" + name, inner)

    def of_field(self, name: str) -> MergeType:
        """The type of a MAP's field or key; WHOLE where the type knows none of that name."""
        found = self.fields.get(name)
        return found[1] if found else self.element or WHOLE

    def step(self, item: Any) -> str:
        """The step to that element of a SET or KEYED list."""
        if self.shape is Shape.SET:
            return value_step(item)
        keys = item if isinstance(item, dict) else {}
        return key_step({name: keys.get(name, self.key_defaults.get(name)) for name in self.keys})

    def misses_key(self, item: Any) -> str:
        """Of a KEYED list's element, the key that neither it nor a default tells; else empty."""
        keys = item if isinstance(item, dict) else {}
        lacking = (k for k in self.keys if keys.get(k) is None and k not in self.key_defaults)
        return next(lacking, "")


WHOLE = MergeType(Shape.WHOLE)
FREE = MergeType(Shape.FREE)
FREE.element = FREE


def of(kind: Kind) -> MergeType:
    """The type of the kind's objects."""
    if kind.openapi is not None:
        return _learned(kind)
    return CUSTOM if kind.schema is None else _named(kind.schema)


# By the document's identity, with the document, so that no other one gets its identity.
_learned_types: dict[int, tuple[Object, MergeType]] = {}
_MOST_LEARNED = 1000


def _learned(kind: Kind) -> MergeType:
    document = kind.openapi
    assert document is not None, "asked for learned kinds alone"
    known = _learned_types.get(id(document))
    if known is None or known[0] is not document:
        if len(_learned_types) >= _MOST_LEARNED:
            _learned_types.clear()
        known = _learned_types[id(document)] = (document, from_structural(document))
    return known[1]


def _object_of(rest: MergeType) -> MergeType:
    """An object with the metadata that all have, and fields of that other type."""
    found = MergeType(Shape.MAP, rest)
    found.fields = dict(rest.fields)
    for name in ("apiVersion", "kind"):
        found.add(name, WHOLE)
    found.add("metadata", _named("meta.v1.ObjectMeta"))
    return found


_types: dict[str, MergeType] = {}


def _named(name: str) -> MergeType:
    known = _types.get(name)
    if known is not None:
        return known
    if schemas.is_atomic(name):
        _types[name] = WHOLE
        return WHOLE
    # Known before its fields are: they may lead back to it.
    found = _types[name] = MergeType(Shape.MAP)
    for field, described in schemas.fields(name).items():
        found.add(field, _described(described))
    return found


def _described(described: schemas.Described) -> MergeType:
    if isinstance(described, str):
        return _named(described[1:]) if described.startswith("@") else WHOLE
    if described.get("atomic"):
        return WHOLE
    if "type" in described:
        return _described(described["type"])
    if "map" in described:
        return MergeType(Shape.MAP, _described(described["map"]))
    element = described["list"]
    keys = described.get("keys") or ([described["merge"]] if "merge" in described else [])
    merges = "merge" in described.get("strategy", "").split(",")
    if described.get("keys") or (merges and keys):
        found = MergeType(Shape.KEYED, _described(element))
        found.keys = tuple(sorted(keys))
        if isinstance(element, str) and element.startswith("@"):
            found.key_defaults = schemas.key_defaults(element[1:])
        return found
    return MergeType(Shape.SET, WHOLE) if merges or described.get("set") else WHOLE


def from_structural(schema: Object) -> MergeType:
    """The type of a custom kind's objects, by their structural schema (openAPIV3Schema)."""
    return _object_of(_structural(schema))


def _structural(schema: Object) -> MergeType:
    if schema.get("x-kubernetes-map-type") == "atomic":
        return WHOLE
    sort = schema.get("type")
    if sort == "array":
        return _structural_list(schema)
    if sort != "object":
        return FREE if schema.get("x-kubernetes-preserve-unknown-fields") else WHOLE
    others = schema.get("additionalProperties")
    found = MergeType(Shape.MAP)
    if isinstance(others, dict):
        found.element = _structural(others)
    elif others or schema.get("x-kubernetes-preserve-unknown-fields"):
        found.element = FREE
    for name, inner in (schema.get("properties") or {}).items():
        found.add(name, _structural(inner))
    if schema.get("x-kubernetes-embedded-resource"):
        found.add("metadata", _named("meta.v1.ObjectMeta"))
    return found


def _structural_list(schema: Object) -> MergeType:
    sort = schema.get("x-kubernetes-list-type")
    if sort == "set":
        return MergeType(Shape.SET, WHOLE)
    if sort != "map":
        return WHOLE
    items: Object = schema.get("items") or {}
    found = MergeType(Shape.KEYED, _structural(items))
    found.keys = tuple(sorted(schema.get("x-kubernetes-list-map-keys") or ()))
    properties = items.get("properties") or {}
    found.key_defaults = {
        name: properties[name]["default"]
        for name in found.keys
        if "default" in properties.get(name, {})
    }
    return found


#: Objects of a kind without a schema.
CUSTOM = _object_of(FREE)
