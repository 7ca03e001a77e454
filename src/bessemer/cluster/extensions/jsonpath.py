"""The JSONPaths of columns: ``.spec.a[0].b``, ``['a']``, ``[?(@.type=="x")]``.

Source: k8s.io/client-go/util/jsonpath, as far as definitions may use it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from bessemer.kinds.kind import Object

_STEP = re.compile(
    r"\.(?P<name>(?:\\.|[^.\[\]\\])+)"
    r"|\[(?P<number>\d+)\]"
    r"|\[(?P<quote>['\"])(?P<key>(?:\\.|(?!(?P=quote)).)*)(?P=quote)\]"
    r"|\[\?\(@\.(?P<field>[\w.]+)\s*==\s*(?P<mark>['\"])(?P<value>.*?)(?P=mark)\)\]"
    r"|(?P<all>\[\*\])"
)
Step = Callable[[list[Any]], list[Any]]


def compile(text: str) -> Callable[[Object], Any]:  # noqa: A001 - the field's word
    """Reads the value at a path: the first that is found, None without any.

    Raises:
        ValueError: it is no path of those that are known.
    """
    steps: list[Step] = []
    at = 0
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None:
            raise ValueError(f"is an invalid JSONPath at {text[at:]!r}")
        steps.append(_step(found))
        at = found.end()
    if not steps:
        raise ValueError("must not be empty")

    def read(obj: Object) -> Any:
        values: list[Any] = [obj]
        for step in steps:
            values = step(values)
        return values[0] if values else None

    return read


def _step(found: re.Match[str]) -> Step:
    if (number := found["number"]) is not None:
        at = int(number)
        return lambda values: [v[at] for v in values if isinstance(v, list) and at < len(v)]
    if found["all"]:
        return lambda values: [each for v in values for each in _members(v)]
    if (field := found["field"]) is not None:
        wanted, names = found["value"], field.split(".")
        return lambda values: [
            each for v in values for each in _members(v) if str(_dig(each, names)) == wanted
        ]
    name = re.sub(r"\\(.)", r"\1", found["name"] or found["key"] or "")
    return lambda values: [v[name] for v in values if isinstance(v, dict) and name in v]


def _members(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    return list(value.values()) if isinstance(value, dict) else []


def _dig(value: Any, names: list[str]) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value
