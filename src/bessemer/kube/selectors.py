"""Selectors of queries by label and field: parsed once, asked often; for server and informers.

Source: k8s.io/apimachinery pkg/labels, pkg/fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from bessemer.kinds import meta
from bessemer.kinds.kind import Kind, Object
from bessemer.kinds.labelselector import INTEGER, Requirement, matches_labels
from bessemer.kube.client import Selection
from bessemer.kube.errors import BadRequest

Matcher = Callable[[Object], bool]

_METADATA_FIELDS = {"metadata.name": "metadata.name", "metadata.namespace": "metadata.namespace"}
_KEY = re.compile(
    r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?$"
)
_VALUE = re.compile(r"^([A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?)?$")
_SHORT = 1024
_REQUIREMENT = re.compile(
    r"""\s*(?:
        (?P<absent>!)\s*(?P<absent_key>[^\s=!,()<>]+)
      | (?P<key>[^\s=!,()<>]+)(?:
            \s*(?P<operator>==|=|!=|>|<)\s*(?P<value>[^\s=!,()<>]*)
          | \s+(?P<set>(?:not)?in)\s*\((?P<values>[^()]*)\)
        )?
    )\s*(?:,|$)""",
    re.VERBOSE,
)


class FieldTerm(NamedTuple):
    """One term of a field selector: where it looks, and for what."""

    key: str
    path: str
    value: str
    equal: bool


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def parse_labels(text: str) -> tuple[Requirement, ...]:
    """The terms of ``app=a,tier in (x,y),!old``.

    Raises:
        BadRequest: the text is no label selector.
    """
    # Selectors that programs use again and again are short; long ones would fill the memory.
    return _parse_short(text) if len(text) <= _SHORT else _parse(text)


@lru_cache(maxsize=1024)
def _parse_short(text: str) -> tuple[Requirement, ...]:
    return _parse(text)


def _parse(text: str) -> tuple[Requirement, ...]:
    terms, position = [], 0
    text = text.strip()
    while position < len(text):
        found = _REQUIREMENT.match(text, position)
        if not found or (found.end() == len(text) and text.endswith(",")):
            raise BadRequest(
                f"unable to parse requirement: {text[position : position + 80]!r} is no term of a "
                "label selector; write key, !key, key=value, key!=value, key in (a,b), "
                "key notin (a,b)"
            )
        terms.append(_requirement(found))
        position = found.end()
    return tuple(terms)


def _requirement(found: re.Match[str]) -> Requirement:
    if found["absent"]:
        return Requirement(_checked_key(found["absent_key"]), "DoesNotExist")
    key = _checked_key(found["key"])
    if found["set"]:
        values = tuple(sorted(value.strip() for value in found["values"].split(",")))
        return Requirement(key, "In" if found["set"] == "in" else "NotIn", _checked(values))
    match found["operator"]:
        case None:
            return Requirement(key, "Exists")
        case "=" | "==":
            return Requirement(key, "In", _checked((found["value"],)))
        case "!=":
            return Requirement(key, "NotIn", _checked((found["value"],)))
        case sign:
            if not INTEGER.fullmatch(found["value"]):
                raise BadRequest(
                    f"unable to parse requirement: values[0][{key}]: Invalid value: "
                    f"\"{found['value']}\": for 'Gt', 'Lt' operators, the value must be an integer"
                )
            return Requirement(key, "Gt" if sign == ">" else "Lt", (found["value"],))


def _checked_key(key: str) -> str:
    if not _KEY.match(key):
        raise BadRequest(
            f'unable to parse requirement: <nil>: Invalid value: "{key}": name part must consist '
            "of alphanumeric characters, '-', '_' or '.', and must start and end with an "
            "alphanumeric character (e.g. 'MyName', 'example.com/MyName')"
        )
    return key


def _checked(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not _VALUE.match(value):
            raise BadRequest(
                f'unable to parse requirement: values: Invalid value: "{value}": a valid label '
                "must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
                "at most 63, and must start and end with an alphanumeric character"
            )
    return values


def parse_fields(text: str, kind: Kind) -> tuple[FieldTerm, ...]:
    """The terms of ``status.phase!=Running,spec.nodeName=n1``.

    Raises:
        BadRequest: no field selector, or of a field that the kind can't be selected by.
    """
    known = {**_METADATA_FIELDS, **(kind.fields or {})}
    terms = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = re.fullmatch(r"([^=!]+)(==|=|!=)([^=!]*)", part)
        if not found:
            raise BadRequest(f"invalid selector: {part!r}; write field=value or field!=value")
        key, sign, value = found[1].strip(), found[2], found[3].strip()
        if key not in known:
            raise BadRequest(_unknown_field(key, kind))
        terms.append(FieldTerm(key, known[key], value, sign != "!="))
    return tuple(terms)


def _unknown_field(key: str, kind: Kind) -> str:
    # Kinds without fields of their own share one conversion upstream, with words of its own.
    if kind.fields is not None:
        return f"field label not supported: {key}"
    names = ", ".join(f'"{name}"' for name in _METADATA_FIELDS)
    return f'"{key}" is not a known field selector: only {names}'


def matcher(kind: Kind, selection: Selection) -> Matcher | None:
    """Whether an object of the namespace has the labels and fields; None: every one has."""
    labels = _join(parse_labels(selection.labels)) if selection.labels else None
    fields = _join_fields(parse_fields(selection.fields, kind)) if selection.fields else ()
    if not labels and not fields:
        return None

    def matches(obj: Object) -> bool:
        if labels and not labels.matches(obj["metadata"].get("labels") or {}):
            return False
        return all(field.matches(obj) for field in fields)

    return matches


class _Joined(NamedTuple):
    """The terms of a selector by label: of thousands of them few look at an object's labels."""

    needed: tuple[tuple[str, frozenset[str] | None], ...]  # present, and one of these or any
    refused: Mapping[str, frozenset[str] | None]  # absent, or none of these; None: absent alone
    others: tuple[Requirement, ...]  # bounds, the narrowest of each label

    def matches(self, labels: Mapping[str, str]) -> bool:
        for key, allowed in self.needed:
            value = labels.get(key)
            if value is None or (allowed is not None and value not in allowed):
                return False
        refused = self.refused
        for key in labels if len(labels) < len(refused) else refused:
            if key in refused and key in labels:
                denied = refused[key]
                if denied is None or labels[key] in denied:
                    return False
        return not self.others or matches_labels(self.others, labels)


def _join(terms: Iterable[Requirement]) -> _Joined:
    needed: dict[str, frozenset[str] | None] = {}
    denied: dict[str, set[str]] = {}
    absent: set[str] = set()
    bounds: dict[tuple[str, str], Requirement] = {}
    for term in terms:
        match term.operator:
            case "In":
                before = needed.get(term.key)
                values = frozenset(term.values)
                needed[term.key] = values if before is None else before & values
            case "Exists":
                needed.setdefault(term.key, None)
            case "NotIn":
                denied.setdefault(term.key, set()).update(term.values)
            case "DoesNotExist":
                absent.add(term.key)
            case operator:
                narrowest = max if operator == "Gt" else min
                known = bounds.setdefault((term.key, operator), term)
                bounds[term.key, operator] = narrowest(
                    known, term, key=lambda bound: int(bound.values[0])
                )
    refused = {key: frozenset(values) for key, values in denied.items()} | dict.fromkeys(absent)
    return _Joined(tuple(needed.items()), refused, tuple(bounds.values()))


class _JoinedFields(NamedTuple):
    """The terms of a field selector on one field."""

    path: str
    equal: frozenset[str] | None  # one of these, if it is not None
    unequal: frozenset[str]

    def matches(self, obj: Object) -> bool:
        value = _text(meta.dig(obj, self.path))
        return value not in self.unequal and (self.equal is None or value in self.equal)


def _join_fields(terms: Iterable[FieldTerm]) -> tuple[_JoinedFields, ...]:
    equal: dict[str, frozenset[str]] = {}
    unequal: dict[str, set[str]] = {}
    for term in terms:
        if term.equal:
            value = frozenset((term.value,))
            equal[term.path] = equal.get(term.path, value) & value
        else:
            unequal.setdefault(term.path, set()).add(term.value)
    return tuple(
        _JoinedFields(path, equal.get(path), frozenset(unequal.get(path, ())))
        for path in dict.fromkeys([*equal, *unequal])
    )


def named(selection: Selection) -> str:
    """The one name that the field selector asks for, else empty: such a read needs no scan."""
    found = re.fullmatch(r"\s*metadata\.name==?([^=!,]+)", selection.fields)
    return found[1].strip() if found else ""
