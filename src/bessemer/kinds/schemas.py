"""The structure of built-in kinds: types, required fields, how lists merge.

``schemas.json`` is derived by ``scripts/derive_schemas.py``; here it is read at first use and
compiled to checkers. A checker walks an object once, drops nulls and unknown fields from it in
place (as Go's decoder does), writes quantities and MicroTimes in their canonical form, and tells
what it found.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast

from bessemer.base.clock import format_micro_time, parse_time
from bessemer.kinds import quantity
from bessemer.kinds.kind import Object

#: How a field's type is written in the table: a word, "@Type", {"list": …} or {"map": …}.
Described = Any


class Fault(StrEnum):
    """What can be wrong with a structure."""

    UNKNOWN = "unknown"  # a field that the type does not have; it was dropped
    MISSING = "missing"  # a required field is absent or empty
    MISMATCH = "mismatch"  # a value of another type
    MALFORMED = "malformed"  # the right type, but not its form (quantity, time, base64)


class Finding(NamedTuple):
    """One fault; ``steps`` leads to it from the inside out (names and list indexes)."""

    fault: Fault
    message: str
    steps: list[str | int]

    @property
    def path(self) -> str:
        """``spec.containers[0].name``."""
        return render(reversed(self.steps))


Findings = list[Finding] | None
Check = Callable[[Any], Findings]


def render(steps: Iterable[str | int]) -> str:
    """A path as upstream's field errors write it."""
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


@cache
def _table() -> Mapping[str, Mapping[str, Any]]:
    text = Path(__file__).with_name("schemas.json").read_text(encoding="utf-8")
    return cast("Mapping[str, Mapping[str, Any]]", json.loads(text))


def fields(type_name: str) -> Mapping[str, Described]:
    """The described fields of a type ("core.v1.Pod"); empty for a type that we don't know."""
    entry = _table().get(type_name)
    return entry["fields"] if entry else {}


def is_atomic(type_name: str) -> bool:
    """Whether objects of the type are owned as a whole, not field by field."""
    entry = _table().get(type_name)
    return bool(entry and entry.get("atomic"))


def key_defaults(type_name: str) -> Mapping[str, str]:
    """What the keys of such list elements are where they don't say (``protocol: TCP``)."""
    entry = _table().get(type_name)
    return entry.get("key_defaults", {}) if entry else {}


@cache
def checker(type_name: str) -> Check:
    """The compiled checker of a type."""
    entry = _table()[type_name]
    exact: dict[str, type] = {}
    checks: dict[str, Check] = {}
    coercions: dict[str, Callable[[Any], Any]] = {}
    for name, described in entry["fields"].items():
        word = described.get("type", described) if isinstance(described, dict) else described
        word = _with_size(name, word)
        if isinstance(word, str) and word in _EXACT:
            exact[name] = _EXACT[word]
        if word == "quantity":
            coercions[name] = quantity.canonical
        elif word == "time" and name in _MICRO_TIMES:
            coercions[name] = _canonical_micro_time
        checks[name] = _compile(word, f"{type_name.rpartition('.')[2]}.{{path}}")
    required = tuple(entry.get("required", ()))
    return _object_check(type_name, _Fields(exact, checks, coercions), required)


def _with_size(name: str, word: Described) -> Described:
    """A whole number's type says how large it may be."""
    size = "int64" if name in _INT64 else "int32"
    if word == "integer":
        return size
    if isinstance(word, dict) and word.get("list") == "integer":
        return {**word, "list": size}
    return word


# Which of the whole numbers are of 64 bits; a name means the same in all types.
# Source: k8s.io/api, the generated.proto of each group.
_INT64 = frozenset({
    "activeDeadlineSeconds", "capacity", "defaultUser", "deletionGracePeriodSeconds",
    "expirationSeconds", "fsGroup", "generation", "gid", "gracePeriodSeconds",
    "observedGeneration", "runAsGroup", "runAsUser", "seconds", "sizeBytes",
    "supplementalGroups", "terminationGracePeriodSeconds", "tolerationSeconds", "type", "uid",
    "user",
})  # fmt: skip
# Of type MicroTime, whose reader in Go wants its six digits of a second.
_MICRO_TIMES = frozenset({"acquireTime", "eventTime", "lastObservedTime", "renewTime"})
_EXACT: Mapping[str, type] = {"string": str, "boolean": bool}
_GO_TYPES = {
    "string": "string", "boolean": "bool", "number": "float64",
    "time": "v1.Time", "bytes": "[]uint8", "int-or-string": "intstr.IntOrString",
}  # fmt: skip


def _go_type(described: Described) -> str:
    if isinstance(described, dict):
        if "list" in described:
            return f"[]{_go_type(described['list'])}"
        return f"map[string]{_go_type(described['map'])}"
    word = str(described)
    return _GO_TYPES.get(word, word.lstrip("@").partition(".")[2])


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    names = {str: "string", dict: "object", list: "array", int: "number", float: "number"}
    return names.get(type(value), "null")


def _mismatch(value: Any, described: Described, owner: str) -> list[Finding]:
    # The struct's path is known to the caller only: structure errors fill {path} in.
    text = (
        f"json: cannot unmarshal {_json_type(value)} into Go struct field {owner} "
        f"of type {_go_type(described)}"
    )
    return [Finding(Fault.MISMATCH, text, [])]


def _compile(described: Described, owner: str) -> Check:
    if isinstance(described, dict):
        if "list" in described:
            return _list_check(described, _compile(described["list"], owner), owner)
        return _map_check(described, _compile(described["map"], owner), owner)
    if described.startswith("@"):
        return _lazy(described[1:], owner)
    return _primitive(described, owner)


def _lazy(type_name: str, owner: str) -> Check:
    # Types may lead back to themselves, so that they are compiled at their first value.
    inner: Check | None = None

    def check(value: Any) -> Findings:
        nonlocal inner
        if type(value) is not dict:
            return _mismatch(value, f"@{type_name}", owner)
        if inner is None:
            inner = checker(type_name)
        return inner(value)

    return check


class _Fields(NamedTuple):
    """A type's fields, sorted by how a value is looked at: cheapest first."""

    exact: dict[str, type]
    checks: dict[str, Check]
    coercions: dict[str, Callable[[Any], Any]]


def _object_check(type_name: str, parts: _Fields, required: tuple[str, ...]) -> Check:
    exact = parts.exact

    def check(value: Any) -> Findings:
        if type(value) is not dict:
            return _mismatch(value, f"@{type_name}", "{path}")
        odd = [key for key, item in value.items() if exact.get(key) is not type(item)]
        found: list[Finding] = []
        for key in odd:
            _check_field(value, key, parts, found)
        for key in required:
            if value.get(key) in _EMPTY:
                found.append(Finding(Fault.MISSING, "Required value", [key]))
        return found

    return check


def _check_field(holder: Object, key: str, parts: _Fields, found: list[Finding]) -> None:
    item = holder[key]
    if item is None:
        del holder[key]
    elif key in parts.coercions:
        _coerce(holder, key, parts.coercions[key], found)
    elif (rule := parts.checks.get(key)) is None:
        del holder[key]
        if len(found) < _MOST_UNKNOWN:
            found.append(Finding(Fault.UNKNOWN, "", [key]))
    elif inner := rule(item):
        for finding in inner:
            finding.steps.append(key)
        found += inner


# Of one object; a body may have as many as it has bytes, and all are dropped.
_MOST_UNKNOWN = 1000
_EMPTY: tuple[Any, ...] = (None, "", [], {})


def _coerce(
    holder: dict[str, Any], key: str, convert: Callable[[Any], Any], found: list[Finding]
) -> None:
    try:
        holder[key] = convert(holder[key])
    except (ValueError, TypeError, OverflowError) as error:
        found.append(Finding(Fault.MALFORMED, str(error), [key]))


def _list_check(described: Described, inner: Check, owner: str) -> Check:
    exact = _EXACT.get(described["list"]) if isinstance(described["list"], str) else None

    def check(value: Any) -> Findings:
        if type(value) is not list:
            return _mismatch(value, described, owner)
        found: list[Finding] = []
        for index, item in enumerate(value):
            if type(item) is exact:
                continue
            if results := inner(item):
                for finding in results:
                    finding.steps.append(index)
                found += results
        return found

    return check


def _map_check(described: Described, inner: Check, owner: str) -> Check:
    word = described["map"]
    exact = _EXACT.get(word) if isinstance(word, str) else None
    is_quantity = word == "quantity"

    def check(value: Any) -> Findings:
        if type(value) is not dict:
            return _mismatch(value, described, owner)
        found: list[Finding] = []
        for key, item in value.items():
            if type(item) is exact:
                continue
            if is_quantity:
                _coerce(value, key, quantity.canonical, found)
            elif item is None and exact is str:
                value[key] = ""  # as Go reads null into a string
            elif results := inner(item):
                for finding in results:
                    finding.steps.append(key)
                found += results
        return found

    return check


_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})"
)
_TIME_WORDS = "parsing time {value}: it must be as 2006-01-02T15:04:05Z"


def _is_time(value: str) -> bool:
    # Python reads many more forms, which other clients then can't.
    if not _RFC_3339.fullmatch(value):
        return False
    try:
        parse_time(value)
    except ValueError:
        return False
    return True


def _canonical_micro_time(value: Any) -> str:
    if not isinstance(value, str) or not _is_time(value):
        raise ValueError(_TIME_WORDS.format(value=repr(value)[:80]))
    return format_micro_time(parse_time(value))


def _is_base64(value: str) -> bool:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


_SIZES = {"int32": 2**31, "int64": 2**63}
_FORMS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "time": (_is_time, _TIME_WORDS),
    "bytes": (_is_base64, "illegal base64 data: {value}"),
}
_ACCEPTED: Mapping[str, tuple[type, ...]] = {
    "string": (str,), "boolean": (bool,), "int32": (int,), "int64": (int,), "number": (int, float),
    "time": (str,), "bytes": (str,), "int-or-string": (int, str), "quantity": (str, int, float),
}  # fmt: skip


def _number(word: str, owner: str) -> Check:
    """A whole number that Go's type can hold."""
    size = _SIZES[word]

    def check(value: Any) -> Findings:
        if type(value) is not int:
            return _mismatch(value, word, owner)
        if not -size <= value < size:
            text = (
                f"json: cannot unmarshal number {value} into Go struct field {owner} "
                f"of type {word}"
            )
            return [Finding(Fault.MISMATCH, text, [])]
        return None

    return check


def _primitive(word: str, owner: str) -> Check:
    if word == "any":
        return lambda _value: None
    accepted = _ACCEPTED[word]
    if word in _SIZES:
        return _number(word, owner)
    form = _FORMS.get(word)

    def check(value: Any) -> Findings:
        if type(value) not in accepted:
            return _mismatch(value, word, owner)
        if form is not None and not form[0](value):
            return [Finding(Fault.MALFORMED, form[1].format(value=repr(value)[:80]), [])]
        return None

    return check
