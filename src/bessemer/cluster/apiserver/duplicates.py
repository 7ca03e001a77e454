"""Keys that stand twice in a JSON object: the later one wins, so somebody has to be told.

Looked for only where the request asks for validation of its fields: it means reading the body
once more, slowly. Source: k8s.io/apimachinery pkg/runtime/serializer/json (strict decoding).
"""

from __future__ import annotations

import json
from typing import Any


class _Pairs(list[tuple[str, Any]]):
    """An object as it was written, each pair of it."""


def find(body: bytes) -> list[str]:
    """The paths of the keys that stand twice ("metadata.labels.a"), in the order found."""
    found: list[str] = []
    _walk(json.loads(body, object_pairs_hook=_Pairs, parse_int=str, parse_float=str), "", found)
    return list(dict.fromkeys(found))


def _walk(value: Any, path: str, found: list[str]) -> None:
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for key, inner in value:
            where = f"{path}.{key}" if path else key
            if key in seen:
                found.append(where)
            seen.add(key)
            _walk(inner, where, found)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _walk(inner, f"{path}[{index}]", found)
