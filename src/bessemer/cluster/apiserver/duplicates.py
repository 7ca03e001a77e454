"""Keys that stand twice in a JSON object: the later one wins, so somebody has to be told.

Looked for only where the request asks for validation of its fields: it means reading the body
once more, slowly. Source: k8s.io/apimachinery pkg/runtime/serializer/json (strict decoding),
sigs.k8s.io/json (which tells a hundred of them at most).
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

MOST_FOUND = 100
#: Characters of a path that is told; the rest of a longer one is left out in its middle.
MOST_PATH = 256


class _Pairs(list[tuple[str, Any]]):
    """An object as it was written, each pair of it."""


class _Place(NamedTuple):
    """Where the walk is; its path is made only where it must be told, for keys may be long."""

    outer: _Place | None
    step: str | int


def find(body: bytes) -> list[str]:
    """The paths of the keys that stand twice ("metadata.labels.a"), the first hundred of them."""
    found: dict[str, None] = {}
    _walk(json.loads(body, object_pairs_hook=_Pairs, parse_int=str, parse_float=str), None, found)
    return list(found)


def _walk(value: Any, place: _Place | None, found: dict[str, None]) -> None:
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for key, inner in value:
            if key in seen and len(found) < MOST_FOUND:
                found[_tell(_Place(place, key))] = None
            seen.add(key)
            if isinstance(inner, list):
                _walk(inner, _Place(place, key), found)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            if isinstance(inner, list):
                _walk(inner, _Place(place, index), found)


def _tell(place: _Place | None) -> str:
    steps: list[str] = []
    while place is not None:
        step = place.step
        text = f"[{step}]" if isinstance(step, int) else f".{_shorten(step)}"
        steps.append(text)
        place = place.outer
    return _shorten("".join(reversed(steps)).removeprefix("."))


def _shorten(text: str) -> str:
    if len(text) <= MOST_PATH:
        return text
    half = MOST_PATH // 2
    return f"{text[:half]}…{text[-half:]}"
