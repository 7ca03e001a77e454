"""Structural schemas: what they prune, fill in and refuse. Pure.

Source: k8s.io/apiextensions-apiserver pkg/apiserver/schema (structural, pruning, defaulting,
listtype), k8s.io/kube-openapi pkg/validation/validate, and the words of both.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import re2

from bessemer.cluster.extensions.celrules import Rule
from bessemer.kinds import meta, rules
from bessemer.kinds.kind import Cause, Object

#: How deep a schema may be, and how many schemas may be in it: an object is walked as deep.
MOST_DEPTH, MOST_NODES = 64, 20_000
#: As many causes as are told of one object.
MOST_CAUSES = 100
#: What stands for no value at all: null is one.
ABSENT: Any = object()
_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: type(value) is dict,
    "array": lambda value: type(value) is list,
    "string": lambda value: type(value) is str,
    "boolean": lambda value: type(value) is bool,
    "integer": lambda value: type(value) is int or (type(value) is float and value.is_integer()),
    "number": lambda value: type(value) in (int, float),
}
_NAMES = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer",
          float: "number", type(None): "null"}  # fmt: skip
Check = Callable[[Any, str], Cause | None]


@dataclass
class Schema:
    """A schema, ready to be used.

    Attributes:
        extra: what other fields of an object are: of that schema, of any (True), or pruned (None).
        keys: of a list that is a map: the fields that tell its elements apart.
    """

    type: str = ""
    properties: dict[str, Schema] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    extra: Schema | bool | None = None
    items: Schema | None = None
    default: Any = ABSENT
    nullable: bool = False
    embedded: bool = False
    int_or_string: bool = False
    is_set: bool = False
    keys: tuple[str, ...] = ()
    checks: list[Check] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)

    # ---- pruning and defaults, in place

    def prune(self, value: Any, path: str = "") -> Iterator[str]:
        """Take out what no schema names; the paths of that."""
        if type(value) is dict:
            for name in list(value):
                inner = self._of(name)
                where = f"{path}.{name}" if path else name
                if inner is None:
                    if not (self.embedded and name in _HEAD):
                        del value[name]
                        yield where
                elif isinstance(inner, Schema):
                    yield from inner.prune(value[name], where)
        elif type(value) is list and self.items is not None:
            for number, item in enumerate(value):
                yield from self.items.prune(item, f"{path}[{number}]")

    def _of(self, name: str) -> Schema | bool | None:
        return self.properties.get(name) or self.extra

    def fill(self, value: Any) -> None:
        """Put in the defaults of what is absent; null is absent where it isn't allowed."""
        if type(value) is dict:
            for name, inner in self.properties.items():
                found = value.get(name, ABSENT)
                if inner.default is not ABSENT and (
                    found is ABSENT or (found is None and not inner.nullable)
                ):
                    value[name] = meta.copy(inner.default)
            for name, found in value.items():
                known = self._of(name)
                if isinstance(known, Schema):
                    known.fill(found)
        elif type(value) is list and self.items is not None:
            for item in value:
                self.items.fill(item)

    # ---- validation

    def find_causes(self, value: Any, path: str) -> Iterator[Cause]:
        """The broken rules of a value, CEL's apart."""
        if value is None:
            if not self.nullable and self.type:
                yield _wrong_type(path, value, self.type)
            return
        if fault := self._wrong(value, path):
            yield fault
            return
        for check in self.checks:
            if cause := check(value, path):
                yield cause
        if type(value) is dict:
            yield from self._of_object(value, path)
        elif type(value) is list:
            yield from self._of_list(value, path)

    def _wrong(self, value: Any, path: str) -> Cause | None:
        if self.int_or_string:
            is_right = type(value) in (int, str)
            return None if is_right else _wrong_type(path, value, "integer,string")
        if self.type and not _TYPES[self.type](value):
            return _wrong_type(path, value, self.type)
        return None

    def _of_object(self, value: Object, path: str) -> Iterator[Cause]:
        for name in self.required:
            if name not in value:
                yield rules.required(_join(path, name))
        for name, found in value.items():
            inner = self._of(name)
            if isinstance(inner, Schema):
                named = name in self.properties
                yield from inner.find_causes(
                    found, _join(path, name) if named else f"{path}[{name}]"
                )

    def _of_list(self, value: list[Any], path: str) -> Iterator[Cause]:
        seen = set()
        for number, item in enumerate(value):
            where = f"{path}[{number}]"
            if self.items is not None:
                yield from self.items.find_causes(item, where)
            if self.is_set or self.keys:
                own = self._own(item)
                text = json.dumps(own, sort_keys=True)
                if text in seen:
                    yield rules.duplicate(where, own)
                seen.add(text)

    def _own(self, item: Any) -> Any:
        """What of a list's element no other one may have."""
        if not self.keys:
            return item
        return {key: item[key] for key in self.keys if type(item) is dict and key in item}

    def find_broken_rules(self, value: Any, old: Any, path: str) -> Iterator[Cause]:
        """What CEL says of a value whose structure is right; ``old`` is ``ABSENT`` without one."""
        if value is None:
            return
        for rule in self.rules:
            if cause := rule.find_cause(value, old, path):
                yield cause
        if type(value) is dict:
            before = old if type(old) is dict else {}
            for name, found in value.items():
                inner = self._of(name)
                if isinstance(inner, Schema) and inner.has_rules:
                    yield from inner.find_broken_rules(
                        found, before.get(name, ABSENT), _join(path, name)
                    )
        elif type(value) is list and self.items is not None and self.items.has_rules:
            known = self._by_key(old)
            for number, item in enumerate(value):
                before = known.get(self._key(item), ABSENT)
                yield from self.items.find_broken_rules(item, before, f"{path}[{number}]")

    def _by_key(self, old: Any) -> dict[str, Any]:
        # Elements of other lists can't be told from one another, so they have no old self.
        if type(old) is not list or not self.keys:
            return {}
        return {self._key(item): item for item in old}

    def _key(self, item: Any) -> str:
        keys = item if type(item) is dict and self.keys else {}
        return json.dumps([keys.get(key) for key in self.keys])

    @property
    def has_rules(self) -> bool:
        """Whether CEL has anything to say of it, or of what is in it."""
        inner = [*self.properties.values(), self.extra, self.items]
        return bool(self.rules) or any(
            isinstance(each, Schema) and each.has_rules for each in inner
        )


# What an object has beside what its schema says.
_HEAD = ("apiVersion", "kind", "metadata")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _wrong_type(path: str, value: Any, wanted: str) -> Cause:
    found = _NAMES.get(type(value), "object")
    text = f'Invalid value: "{found}": {path} in body must be of type {wanted}: "{found}"'
    return Cause(path, text, "FieldValueTypeInvalid")


# ---- from a document


class Compiler:
    """Makes schemas of documents whose form ``definitions`` has proved."""

    def __init__(self) -> None:
        self.nodes = 0

    def compile(self, document: Object, depth: int = 0) -> Schema:
        """A schema.

        Raises:
            ValueError: it is too deep or too large, or a pattern is none.
        """
        self.nodes += 1
        if depth > MOST_DEPTH or self.nodes > MOST_NODES:
            raise ValueError(
                f"a schema must not be deeper than {MOST_DEPTH} nor have more than {MOST_NODES} "
                "schemas in it"
            )
        preserves = document.get("x-kubernetes-preserve-unknown-fields") is True
        found = Schema(
            type=document.get("type", ""),
            required=tuple(document.get("required") or ()),
            default=document.get("default", ABSENT),
            nullable=document.get("nullable") is True,
            embedded=document.get("x-kubernetes-embedded-resource") is True,
            int_or_string=document.get("x-kubernetes-int-or-string") is True,
            is_set=document.get("x-kubernetes-list-type") == "set",
            checks=list(_checks(document)),
        )
        if document.get("x-kubernetes-list-type") == "map":
            found.keys = tuple(document.get("x-kubernetes-list-map-keys") or ())
        for name, inner in (document.get("properties") or {}).items():
            found.properties[name] = self.compile(inner, depth + 1)
        extra = document.get("additionalProperties")
        if isinstance(extra, dict):
            found.extra = self.compile(extra, depth + 1)
        elif extra is True or preserves or not found.type:
            found.extra = True
        if isinstance(document.get("items"), dict):
            found.items = self.compile(document["items"], depth + 1)
        for described in document.get("x-kubernetes-validations") or ():
            found.rules.append(Rule.of(described))
        return found


def _checks(document: Object) -> Iterator[Check]:
    for name, make in _CHECKS.items():
        if (limit := document.get(name)) is not None:
            yield make(limit, document)


def _body(path: str, value: Any, words: str) -> Cause:
    return rules.bad(path, value, f"{path} in body {words}")


def _check_maximum(limit: Any, document: Object) -> Check:
    excluded = document.get("exclusiveMaximum") is True
    words = f"should be less than {'' if excluded else 'or equal to '}{limit}"

    def check(value: Any, path: str) -> Cause | None:
        if type(value) not in (int, float) or value < limit or (value == limit and not excluded):
            return None
        return _body(path, value, words)

    return check


def _check_minimum(limit: Any, document: Object) -> Check:
    excluded = document.get("exclusiveMinimum") is True
    words = f"should be greater than {'' if excluded else 'or equal to '}{limit}"

    def check(value: Any, path: str) -> Cause | None:
        if type(value) not in (int, float) or value > limit or (value == limit and not excluded):
            return None
        return _body(path, value, words)

    return check


def _check_length(most: bool) -> Callable[[Any, Object], Check]:  # noqa: FBT001 - a row of _CHECKS
    def make(limit: Any, document: Object) -> Check:
        def check(value: Any, path: str) -> Cause | None:
            if type(value) is not str:
                return None
            if most:
                return rules.too_long(path, limit) if len(value) > limit else None
            if len(value) < limit:
                return _body(path, value, f"should be at least {limit} chars long")
            return None

        return check

    return make


def _check_count(
    type_: type[list[Any]] | type[Object],
    most: bool,  # noqa: FBT001 - a row of _CHECKS
    noun: str,
) -> Callable[[Any, Object], Check]:
    def make(limit: Any, document: Object) -> Check:
        def check(value: Any, path: str) -> Cause | None:
            if not isinstance(value, type_):
                return None
            if most and len(value) > limit:
                return rules.too_many(path, len(value), limit)
            if not most and len(value) < limit:
                return _body(path, len(value), f"should have at least {limit} {noun}")
            return None

        return check

    return make


def _check_pattern(pattern: Any, document: Object) -> Check:
    # RE2, as upstream: its time is linear, whatever the pattern.
    compiled = re2.compile(pattern)

    def check(value: Any, path: str) -> Cause | None:
        if type(value) is not str or compiled.search(value):
            return None
        return _body(path, value, f"should match '{pattern}'")

    return check


def _check_enum(values: Any, document: Object) -> Check:
    known = {json.dumps(value, sort_keys=True) for value in values}

    def check(value: Any, path: str) -> Cause | None:
        if json.dumps(value, sort_keys=True) in known:
            return None
        return rules.unsupported(path, value, values)

    return check


def _check_multiple(step: Any, document: Object) -> Check:
    def check(value: Any, path: str) -> Cause | None:
        if type(value) not in (int, float) or not step or not value % step:
            return None
        return _body(path, value, f"should be a multiple of {step}")

    return check


def _check_format(name: Any, document: Object) -> Check:
    pattern = _FORMATS.get(name)
    compiled = re2.compile(pattern) if pattern else None

    def check(value: Any, path: str) -> Cause | None:
        if compiled is None or type(value) is not str or compiled.fullmatch(value):
            return None
        return _body(path, value, f'must be of type {name}: "{value}"')

    return check


def _check_alternatives(word: str) -> Callable[[Any, Object], Check]:
    def make(documents: Any, document: Object) -> Check:
        inner = [Compiler().compile(_value_rules(each), 1) for each in documents]

        def check(value: Any, path: str) -> Cause | None:
            fits = sum(next(each.find_causes(value, path), None) is None for each in inner)
            if word == "allOf":
                return None if fits == len(inner) else _alternatives(path, value, "all", "allOf")
            if word == "anyOf":
                return None if fits else _alternatives(path, value, "at least one", "anyOf")
            return None if fits == 1 else _alternatives(path, value, "one and only one", "oneOf")

        return check

    return make


def _alternatives(path: str, value: Any, how: str, word: str) -> Cause:
    noun = "the schemas" if word == "allOf" else "schema"
    return _body(path, value, f"must validate {how} {noun} ({word})")


def _check_not(document: Any, _outer: Object) -> Check:
    inner = Compiler().compile(_value_rules(document), 1)

    def check(value: Any, path: str) -> Cause | None:
        if next(inner.find_causes(value, path), None) is not None:
            return None
        return _body(path, value, "must not validate the schema (not)")

    return check


def _value_rules(document: Object) -> Object:
    """Within junctors a schema says nothing of what is pruned."""
    return {"x-kubernetes-preserve-unknown-fields": True, **document}


_DATE = r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
_FORMATS: Mapping[str, str] = {
    "date": _DATE,
    "date-time": _DATE + r"[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})",
    "uuid": r"(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}",
    "ipv4": r"(\d{1,3}\.){3}\d{1,3}",
    "email": r"[^@\s]+@[^@\s]+",
    "byte": r"[A-Za-z0-9+/]*={0,2}",
}
_CHECKS: Mapping[str, Callable[[Any, Object], Check]] = {
    "maximum": _check_maximum,
    "minimum": _check_minimum,
    "multipleOf": _check_multiple,
    "maxLength": _check_length(most=True),
    "minLength": _check_length(most=False),
    "maxItems": _check_count(list, True, "items"),  # noqa: FBT003 - a row
    "minItems": _check_count(list, False, "items"),  # noqa: FBT003 - a row
    "maxProperties": _check_count(dict, True, "properties"),  # noqa: FBT003 - a row
    "minProperties": _check_count(dict, False, "properties"),  # noqa: FBT003 - a row
    "pattern": _check_pattern,
    "enum": _check_enum,
    "format": _check_format,
    "allOf": _check_alternatives("allOf"),
    "anyOf": _check_alternatives("anyOf"),
    "oneOf": _check_alternatives("oneOf"),
    "not": _check_not,
}
