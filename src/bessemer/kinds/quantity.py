"""Quantities: ``500m``, ``1Gi``, ``2``, as Kubernetes writes amounts of cpu and memory.

Source: k8s.io/apimachinery/pkg/api/resource.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

_PATTERN = re.compile(r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:[eE]([+-]?[0-9]+)|([a-zA-Z]*))")
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}  # powers of two
_DECIMAL = {
    "n": -9,
    "u": -6,
    "m": -3,
    "": 0,
    "k": 3,
    "M": 6,
    "G": 9,
    "T": 12,
    "P": 15,
    "E": 18,
}  # powers of ten; fmt: skip
_DECIMAL_BY_POWER = {power: suffix for suffix, power in _DECIMAL.items()}
# As upstream: nothing is more than this, nor finer than a billionth.
_MOST = 2**63 - 1
_NANOS = 10**9
# No number that Python reads is long enough to make up for more; and a power of ten with millions
# of digits would keep everybody waiting.
_MOST_EXPONENT = 10_000

RULE = (
    r"quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)


def parse(text: str | float) -> Fraction:
    """The amount: at most 2^63-1 either way, and away from zero to whole billionths.

    Raises:
        ValueError: it is no quantity.
    """
    return _parse(str(text))


@lru_cache(maxsize=4096)
def _parse(text: str) -> Fraction:
    found = _PATTERN.fullmatch(text)
    if found is None:
        raise ValueError(RULE)
    number, exponent, suffix = found.groups()
    amount = Fraction(number) * _scale(exponent, suffix)
    nanos = _ceil(min(abs(amount), Fraction(_MOST)) * _NANOS)
    return Fraction(nanos if amount > 0 else -nanos, _NANOS)


def _scale(exponent: str | None, suffix: str) -> Fraction:
    if exponent is not None:
        return Fraction(10) ** max(-_MOST_EXPONENT, min(int(exponent), _MOST_EXPONENT))
    if suffix in _BINARY:
        return Fraction(1 << _BINARY[suffix])
    if suffix in _DECIMAL:
        return Fraction(10) ** _DECIMAL[suffix]
    raise ValueError(RULE)


@lru_cache(maxsize=4096)
def canonical(text: str | float) -> str:
    """As the API server writes it back: whole digits and the largest suffix that loses nothing.

    Raises:
        ValueError: it is no quantity.
    """
    text = str(text)
    amount = _parse(text)
    if amount == 0:
        return "0"
    if text[-1] == "i" and amount.denominator == 1:
        return _binary(int(amount))
    power = -9
    scaled = int(amount * _NANOS)
    while scaled % 1000 == 0 and power < 18:
        scaled //= 1000
        power += 3
    exponent = re.search(r"[eE][+-]?\d+$", text)
    if exponent:
        return f"{scaled}e{power}" if power else str(scaled)
    return f"{scaled}{_DECIMAL_BY_POWER[power]}"


def _binary(whole: int) -> str:
    for suffix, power in reversed(_BINARY.items()):
        if whole % (1 << power) == 0:
            return f"{whole >> power}{suffix}"
    return str(whole)


def milli(text: str | float) -> int:
    """The amount in thousandths, rounded up: how cpu is counted."""
    return _ceil(parse(text) * 1000)


def whole(text: str | float) -> int:
    """The amount in whole units, rounded up: bytes, pods, devices."""
    return _ceil(parse(text))


def _ceil(amount: Fraction) -> int:
    return -(-amount.numerator // amount.denominator)
