"""What a value may be, how it becomes text, and how text becomes it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bessemer.pipelines import types
from bessemer.pipelines.types import MistypedValue, ParameterType

T = ParameterType


@pytest.mark.parametrize(
    ("value", "type_", "expected"),
    [
        (3.0, T.NUMBER_INTEGER, 3),
        (3, T.NUMBER_DOUBLE, 3),
        (0.5, T.NUMBER_DOUBLE, 0.5),
        ("x", T.STRING, "x"),
        (False, T.BOOLEAN, False),
        ([1.0, {"a": 2.0}], T.LIST, [1, {"a": 2}]),
        ({"a": None}, T.STRUCT, {"a": None}),
    ],
)
def test_a_fitting_value_is_normalized(value: Any, type_: T, expected: Any) -> None:
    assert types.check("p", value, type_) == expected


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        ("3", T.NUMBER_INTEGER),
        (0.5, T.NUMBER_INTEGER),
        (True, T.NUMBER_INTEGER),
        (1, T.BOOLEAN),
        (1, T.STRING),
        ("[]", T.LIST),
        ([], T.STRUCT),
        (None, T.STRING),
    ],
)
def test_a_mistyped_value_is_refused_by_name(value: Any, type_: T) -> None:
    with pytest.raises(MistypedValue, match=f"parameter 'p' must be .*{type_.value}"):
        types.check("p", value, type_)


def test_numbers_beyond_64_bits_are_floats_that_can_be_stored() -> None:
    big = types.check("p", {"a": 1e30, "b": 2**70, "c": 2**60, "d": -(2**63)}, T.STRUCT)

    assert big == {"a": 1e30, "b": float(2**70), "c": 2**60, "d": -(2**63)}
    assert orjson.loads(orjson.dumps(big)) == big


@pytest.mark.parametrize(
    ("value", "text"),
    [(3.0, "3"), (0.1, "0.1"), (True, "true"), ([1, 2.0], "[1, 2]"), ({"a": "ü"}, '{"a": "ü"}')],
)
def test_anything_fits_a_string_as_its_text(value: Any, text: str) -> None:
    assert types.convert("p", value, T.STRING) == text


@pytest.mark.parametrize(
    ("text", "type_", "value"),
    [
        (" 3\n", T.NUMBER_INTEGER, 3),
        ("0.50", T.NUMBER_DOUBLE, 0.5),
        ("True", T.BOOLEAN, True),
        ("0", T.BOOLEAN, False),
        (" keep \n", T.STRING, " keep \n"),
        ("[1.0]\n", T.LIST, [1]),
        ('{"a": 1}', T.STRUCT, {"a": 1}),
    ],
)
def test_a_parameter_file_is_read_by_type(text: str, type_: T, value: Any) -> None:
    assert types.from_text("p", text, type_) == value


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("x", T.NUMBER_INTEGER),
        ("yes", T.BOOLEAN),
        ("{", T.STRUCT),
        ("{}", T.LIST),
        ("", T.LIST),
        ("nan", T.NUMBER_DOUBLE),
        ("1e999", T.NUMBER_DOUBLE),
        ("[NaN]", T.LIST),
        ('["\\ud800"]', T.LIST),
        ("[" * 100_000 + "]" * 100_000, T.LIST),
        ("[" * 300 + "]" * 300, T.LIST),
    ],
)
def test_a_parameter_file_of_another_type_is_refused(text: str, type_: T) -> None:
    with pytest.raises(MistypedValue, match="'p'"):
        types.from_text("p", text, type_)
