"""Quantities as Kubernetes writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.kinds import quantity


@pytest.mark.parametrize(
    ("text", "milli", "whole"),
    [
        ("1", 1000, 1), ("500m", 500, 1), ("1.5", 1500, 2), ("2Gi", 2**31 * 1000, 2**31),
        ("1k", 10**6, 1000), ("1e3", 10**6, 1000), ("100n", 1, 1), (".5", 500, 1), (3, 3000, 3),
        ("1E", 10**21, 10**18),
    ],
)  # fmt: skip
def test_numbers(text: str | int, milli: int, whole: int) -> None:
    assert quantity.milli(text) == milli
    assert quantity.whole(text) == whole


@pytest.mark.parametrize(
    "text", ["", "m", "1 Gi", "1Kb", "--1", "NaN", "1ee3", "1Gi\n", "\uff11Gi", "1eKi"]
)
def test_no_numbers(text: str) -> None:
    with pytest.raises(ValueError, match="quantities must match"):
        quantity.parse(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("1000m", "1"), ("0.5", "500m"), ("1500m", "1500m"), ("1024Ki", "1Mi"), ("0", "0"),
        ("0.0", "0"), ("1.5Gi", "1536Mi"), ("1000", "1k"), (2, "2"), ("-500m", "-500m"),
        ("1000000", "1M"), ("0.0001n", "1n"), ("123456", "123456"),
        ("-0.0001n", "-1n"), ("10E", "9223372036854775807"), ("1e-3000000", "1e-9"),
    ],
)  # fmt: skip
def test_canonical_is_what_the_api_server_writes_back(text: str | int, canonical: str) -> None:
    assert quantity.canonical(text) == canonical


@given(st.integers(0, 10**18), st.sampled_from(["", "m", "k", "M", "Ki", "Mi", "Gi"]))
def test_canonical_loses_nothing_and_is_stable(number: int, suffix: str) -> None:
    text = f"{number}{suffix}"
    written = quantity.canonical(text)
    assert quantity.parse(written) == quantity.parse(text)
    assert quantity.canonical(written) == written


def test_canonical_refuses_what_is_no_quantity() -> None:
    with pytest.raises(ValueError, match="quantities must match"):
        quantity.canonical("much")


@pytest.mark.parametrize("text", ["1e999999999999", "-1e999999999999", f"1{'0' * 4000}e9999"])
def test_a_number_of_any_size_is_read_and_is_at_most_what_fits_64_bits(text: str) -> None:
    assert abs(quantity.parse(text)) == 2**63 - 1
    assert quantity.canonical(text).removeprefix("-") == str(2**63 - 1)


def test_a_long_text_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="quantities must match"):
        quantity.parse("1" * 1_000_000 + "!")


def test_a_number_of_any_fineness_is_at_least_a_billionth() -> None:
    assert quantity.parse("1e-999999999999") * 10**9 == 1
