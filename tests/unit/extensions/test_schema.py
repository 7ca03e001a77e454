"""What a structural schema prunes, fills in and refuses, in upstream's words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.cluster.extensions.schema import ABSENT, MOST_DEPTH, Compiler, Schema

SPEC = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5, "minLength": 2},
        "size": {"type": "integer", "minimum": 1, "maximum": 10, "default": 3},
        "ratio": {"type": "number", "exclusiveMaximum": True, "maximum": 1, "multipleOf": 0.5},
        "port": {"x-kubernetes-int-or-string": True},
        "mode": {"type": "string", "enum": ["a", "b"], "default": "a"},
        "when": {"type": "string", "format": "date-time"},
        "maybe": {"type": "string", "nullable": True, "default": "x"},
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "maxItems": 3,
                 "items": {"type": "string"}},
        "parts": {"type": "array", "x-kubernetes-list-type": "map",
                  "x-kubernetes-list-map-keys": ["id"],
                  "items": {"type": "object", "required": ["id"],
                            "properties": {"id": {"type": "string"}, "n": {"type": "integer",
                                                                           "default": 0}}}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"},
                   "maxProperties": 2},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "one": {"type": "object", "properties": {"x": {"type": "string"}, "y": {"type": "string"}},
                "oneOf": [{"required": ["x"]}, {"required": ["y"]}]},
        "no": {"type": "string", "not": {"enum": ["no"]}},
    },
}  # fmt: skip


def compile_(document: Any) -> Schema:
    return Compiler().compile(document)


SCHEMA = compile_(SPEC)


def causes(**value: Any) -> list[tuple[str, str]]:
    found = SCHEMA.find_causes({"name": "abc", **value}, "spec")
    return [(cause.field, cause.message) for cause in found]


@pytest.mark.parametrize(
    ("value", "field", "words"),
    [
        ({"name": 1}, "spec.name",
         'Invalid value: "integer": spec.name in body must be of type string: "integer"'),
        ({"name": "ABC"}, "spec.name",
         "Invalid value: \"ABC\": spec.name in body should match '^[a-z]+$'"),
        ({"name": "a"}, "spec.name",
         'Invalid value: "a": spec.name in body should be at least 2 chars long'),
        ({"name": "abcdef"}, "spec.name", "Too long: may not be more than 5 bytes"),
        ({"size": 0}, "spec.size",
         "Invalid value: 0: spec.size in body should be greater than or equal to 1"),
        ({"size": 11}, "spec.size",
         "Invalid value: 11: spec.size in body should be less than or equal to 10"),
        ({"size": 1.5}, "spec.size",
         'Invalid value: "number": spec.size in body must be of type integer: "number"'),
        ({"size": True}, "spec.size",
         'Invalid value: "boolean": spec.size in body must be of type integer: "boolean"'),
        ({"ratio": 1}, "spec.ratio", "Invalid value: 1: spec.ratio in body should be less than 1"),
        ({"ratio": 0.3}, "spec.ratio",
         "Invalid value: 0.3: spec.ratio in body should be a multiple of 0.5"),
        ({"port": []}, "spec.port", 'Invalid value: "array": spec.port in body must be of type '
         'integer,string: "array"'),
        ({"mode": "c"}, "spec.mode", 'Unsupported value: "c": supported values: "a", "b"'),
        ({"when": "today"}, "spec.when", 'Invalid value: "today": spec.when in body must be of '
         'type date-time: "today"'),
        ({"tags": ["a", "a"]}, "spec.tags[1]", 'Duplicate value: "a"'),
        ({"tags": list("abcd")}, "spec.tags", "Too many: 4: must have at most 3 items"),
        ({"parts": [{"id": "a"}, {"id": "a"}]}, "spec.parts[1]", 'Duplicate value: {"id":"a"}'),
        ({"parts": [{}]}, "spec.parts[0].id", "Required value"),
        ({"labels": {"a": 1}}, "spec.labels[a]",
         'Invalid value: "integer": spec.labels[a] in body must be of type string: "integer"'),
        ({"one": {"x": "1", "y": "2"}}, "spec.one", None),
        ({"no": "no"}, "spec.no", None),
        ({"size": None}, "spec.size",
         'Invalid value: "null": spec.size in body must be of type integer: "null"'),
    ],
)  # fmt: skip
def test_what_is_refused(value: dict[str, Any], field: str, words: str | None) -> None:
    found = causes(**value)

    assert [each[0] for each in found] == [field]
    assert words is None or found[0][1] == words


def test_what_is_right_is_taken() -> None:
    assert causes(size=10, ratio=0.5, port="http", mode="b", when="2026-12-01T00:00:00Z",
                  tags=["a", "b"], parts=[{"id": "a"}, {"id": "b"}], labels={"a": "b"},
                  free={"any": [1]}, one={"x": "1"}, no="yes", maybe=None) == []  # fmt: skip


def test_unknown_fields_go_and_are_told() -> None:
    value = {"name": "abc", "typo": 1, "parts": [{"id": "a", "q": 1}], "free": {"kept": {"x": 1}},
             "labels": {"any": "kept"}, "one": {"x": "1", "z": 2}}  # fmt: skip

    assert list(SCHEMA.prune(value)) == ["typo", "parts[0].q", "one.z"]
    assert value == {"name": "abc", "parts": [{"id": "a"}], "free": {"kept": {"x": 1}},
                     "labels": {"any": "kept"}, "one": {"x": "1"}}  # fmt: skip


def test_defaults_stand_where_nothing_does_and_null_only_where_it_may() -> None:
    value = {"name": "abc", "size": None, "maybe": None, "parts": [{"id": "a"}]}
    SCHEMA.fill(value)

    assert value == {"name": "abc", "size": 3, "mode": "a", "maybe": None,
                     "parts": [{"id": "a", "n": 0}]}  # fmt: skip


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 12) | st.text("abx", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*SPEC["properties"], "id", "n", "x", "q"]), inner)
    ),
    max_leaves=12,
)


@given(value=JSON)
def test_pruning_and_filling_again_changes_nothing_and_no_value_is_too_odd(value: Any) -> None:
    list(SCHEMA.prune(value))
    SCHEMA.fill(value)
    before = json.dumps(value)
    told = [cause.field for cause in SCHEMA.find_causes(value, "spec")]

    assert list(SCHEMA.prune(value)) == []
    SCHEMA.fill(value)
    assert json.dumps(value) == before
    assert all(field.startswith("spec") for field in told)


def test_a_schema_has_bounds() -> None:
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(MOST_DEPTH + 1):
        deep = {"type": "object", "properties": {"a": deep}}
    with pytest.raises(ValueError, match="must not be deeper than"):
        compile_(deep)


def test_a_pattern_takes_no_longer_than_its_text() -> None:
    schema = compile_({"type": "string", "pattern": "^(a+)+$"})

    assert len(list(schema.find_causes("a" * 100_000 + "b", "x"))) == 1


def rule(text: str, **more: Any) -> Schema:
    return compile_({"type": "object", "x-kubernetes-preserve-unknown-fields": True,
                     "x-kubernetes-validations": [{"rule": text, **more}]})  # fmt: skip


def broken(schema: Schema, value: Any, old: Any = ABSENT) -> list[tuple[str, str, str]]:
    return [
        (cause.field, cause.message, cause.reason)
        for cause in schema.find_broken_rules(value, old, "spec")
    ]


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("self.a <= self.b", {"a": 1, "b": 2}, True),
        ("self.a <= self.b", {"a": 3, "b": 2}, False),
        ("has(self.a) && !has(self.b)", {"a": 1}, True),
        ("self.l.all(x, x.startsWith('a'))", {"l": ["ab", "ac"]}, True),
        ("self.s.matches('^[0-9]+$')", {"s": "12"}, True),
        ("self.s.lowerAscii() == 'ab' && self.s.upperAscii() == 'AB'", {"s": "Ab"}, True),
        ("self.s.split(',').size() == 2 && self.s.indexOf(',') == 1", {"s": "a,b"}, True),
        ("self.l.sum() == 6 && self.l.isSorted()", {"l": [1, 2, 3]}, True),
        ("isURL(self.s)", {"s": "https://example.org/x"}, True),
        ("isURL(self.s)", {"s": "nowhere"}, False),
        ("quantity(self.s) > quantity('1Gi')", {"s": "2Gi"}, True),
        ("self.s.find('[0-9]+') == '12' && self.s.findAll('[a-z]').size() == 2", {"s": "a12b"},
         True),
        ("self.s.replace('a', 'b') == 'bb' && self.s.substring(1) == 'a'", {"s": "aa"}, True),
        ("isIP('10.0.0.1') && isCIDR('10.0.0.0/8') && !isIP(self.s)", {"s": "x"}, True),
    ],
)  # fmt: skip
def test_rules_in_cel(text: str, value: Any, holds: bool) -> None:  # noqa: FBT001 - a row
    assert (broken(rule(text), value) == []) is holds


def test_a_broken_rule_tells_its_message_where_and_why() -> None:
    assert broken(rule("self.a < 1"), {"a": 2}) == [
        ("spec", "Invalid value: failed rule: self.a < 1", "FieldValueInvalid")
    ]
    told = rule("self.a < 1", messageExpression="'a is ' + string(self.a)", message="no",
                reason="FieldValueForbidden", fieldPath=".a")  # fmt: skip
    assert broken(told, {"a": 2}) == [("spec.a", "Forbidden: a is 2", "FieldValueForbidden")]


def test_a_transition_is_judged_where_there_was_something() -> None:
    schema = rule("self.a == oldSelf.a", message="a stays")

    assert broken(schema, {"a": 1}) == []
    assert broken(schema, {"a": 1}, {"a": 1}) == []
    assert broken(schema, {"a": 1}, {"a": 2})[0][1] == "Invalid value: a stays"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("self.a ==", "Failed to parse"),
        ("self.a == nobody", "undeclared reference to 'nobody'"),
        ("frobnicate(self.a)", "undeclared reference to 'frobnicate'"),
    ],
)
def test_what_is_no_rule_is_told(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        rule(text)


def test_a_rule_that_would_take_too_long_is_not_begun() -> None:
    schema = rule("self.l.all(x, self.l.all(y, self.l.all(z, x + y + z >= 0)))")

    assert broken(schema, {"l": list(range(50))}) == []
    assert "too many steps" in broken(schema, {"l": list(range(1000))})[0][1]
