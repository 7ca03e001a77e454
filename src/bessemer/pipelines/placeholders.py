"""Placeholders: ``{{$.inputs.parameters['x']}}`` and the structures around them, in one pass.

Substitution is structural: a value goes in where its placeholder stood and is never read again, so
that no quote or brace in it can break what is around it. A placeholder that nobody knows stays as
it is, as upstream. Source: sdk/python/kfp/dsl/placeholders.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from bessemer.base.errors import BessemerError
from bessemer.pipelines import types


class MissingValue(BessemerError):
    """A text needs a value that is null, or not there."""


#: What a lookup answers for a path that it doesn't know.
UNKNOWN = object()
#: From what stands between ``{{$`` and ``}}`` to its value, or UNKNOWN.
Lookup = Callable[[str], Any]

#: Characters that the placeholders of one command may come to.
LIMIT = 16 * 1024 * 1024
#: And those in the inputs of all tasks of a run, which are kept while it runs.
RUN_LIMIT = 256 * 1024 * 1024
_TOKEN = re.compile(r"\{\{\$(.*?)\}\}", re.DOTALL)
_OPENING = re.compile(r"\[(['\"])")


class TooLong(BessemerError):
    """What placeholders stand for is too much together; it was not built."""


class Allowance:
    """The characters that placeholders may still come to, in one command or in all of a run."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = self.left = limit


class Metered:
    """A lookup that gives up once all that it gave is more than allowed.

    A short text can name a long value again and again; what is written out literally is bounded
    by the pipeline's own size. Values are looked up once each, so they must stay the same.
    """

    def __init__(self, lookup: Lookup, allowance: Allowance | None = None) -> None:
        self._lookup = lookup
        self._allowance = allowance or Allowance()
        self._known: dict[str, tuple[Any, int]] = {}

    def __call__(self, path: str) -> Any:
        """The value, counted. Raises TooLong."""
        value, size = self._look(path)
        allowance = self._allowance
        if size > allowance.left:
            raise TooLong(
                f"placeholders may stand for {allowance.limit} characters in all, but "
                f"{types.shorten('{{$' + path + '}}')} has {size} and {allowance.left} are left: "
                "pass a great value once, or as an artifact"
            )
        allowance.left -= size
        return value

    def peek(self, path: str) -> Any:
        """The value, which goes nowhere."""
        return self._look(path)[0]

    def _look(self, path: str) -> tuple[Any, int]:
        known = self._known.get(path)
        if known is None:
            value = self._lookup(path)
            size = 0 if value is UNKNOWN else len(types.to_text(value))
            known = self._known[path] = (value, size)
        return known


def has_any(value: Any) -> bool:
    """Whether some text in the value may hold a placeholder."""
    if isinstance(value, str):
        return "{{$" in value
    if isinstance(value, dict):
        return any(has_any(key) or has_any(item) for key, item in value.items())
    return isinstance(value, list) and any(has_any(item) for item in value)


def split(path: str) -> list[str]:
    """``.inputs.artifacts['a.b'].path`` as its steps: inputs, artifacts, a.b, path."""
    steps: list[str] = []
    at = 0
    # Where the last name of each kind of quote ends: an opening after it is none.
    last = {quote: path.rfind(f"{quote}]") for quote in "'\""}
    for opening in _OPENING.finditer(path):
        begin, quote = opening.end(), opening[1]
        if opening.start() < at or begin > last[quote]:
            continue
        end = path.index(f"{quote}]", begin)
        steps += [step for step in path[at : opening.start()].split(".") if step]
        steps.append(path[begin:end])
        at = end + 2
    return steps + [step for step in path[at:].split(".") if step]


def fill_value(value: Any, lookup: Lookup) -> Any:
    """The value with every placeholder filled; one that is a whole text keeps its value's type."""
    if isinstance(value, str):
        whole = _TOKEN.fullmatch(value)
        if whole and "{{$" not in whole[1] and "}}" not in whole[1]:
            found = lookup(whole[1])
            return value if found is UNKNOWN else found
        return fill_text(value, lookup)
    if isinstance(value, list):
        return [fill_value(item, lookup) for item in value]
    if isinstance(value, dict):
        return {fill_text(key, lookup): fill_value(item, lookup) for key, item in value.items()}
    return value


def fill_text(text: str, lookup: Lookup) -> str:
    """The text with every placeholder filled by its value's text.

    Raises:
        MissingValue: a value is null, for which there is no text; upstream fails there, too.
    """
    if "{{$" not in text:
        return text

    def replace(match: re.Match[str]) -> str:
        found = lookup(match[1])
        if found is UNKNOWN:
            return match[0]
        if found is None:
            raise MissingValue(
                f"{match[0]} has no value, but stands in {types.shorten(text)}; give it one, or a "
                "default, or leave it out by dsl.IfPresentPlaceholder"
            )
        return types.to_text(found)

    # After the last end none begins: each look for its end would read the whole rest.
    end = text.rfind("}}") + 2
    return _TOKEN.sub(replace, text[:end]) + text[end:] if end > 1 else text


def fill_arguments(arguments: Sequence[str], lookup: Lookup) -> list[str]:
    """A command line filled: Concat and IfPresent evaluated, lists spliced in."""
    result: list[str] = []
    for argument in arguments:
        filled = _fill_structure(_read_structure(argument), lookup)
        result += filled if isinstance(filled, list) else [filled]
    return result


def _read_structure(argument: str) -> Any:
    """``{"Concat": [...]}`` and ``{"IfPresent": {...}}`` parsed; any other text as it is."""
    if argument.lstrip().startswith("{") and ("Concat" in argument or "IfPresent" in argument):
        try:
            value = json.loads(argument)
        except (ValueError, RecursionError):
            return argument
        if types.find_fault(value):
            return argument
        if isinstance(value, dict) and len(value) == 1 and next(iter(value)) in _STRUCTURES:
            return value
    return argument


def _fill_structure(value: Any, lookup: Lookup) -> str | list[str]:
    if isinstance(value, str):
        return fill_text(value, lookup)
    if isinstance(value, dict) and len(value) == 1:
        name, body = next(iter(value.items()))
        if name == "Concat" or (name == "IfPresent" and isinstance(body, dict)):
            return _STRUCTURES[name](body, lookup)
    if isinstance(value, list):
        result: list[str] = []
        for item in value:
            filled = _fill_structure(item, lookup)
            result += filled if isinstance(filled, list) else [filled]
        return result
    return types.to_text(fill_value(value, lookup))


def _concat(body: Any, lookup: Lookup) -> str | list[str]:
    parts = _fill_structure(body if isinstance(body, list) else [body], lookup)
    return "".join(parts)


def _if_present(body: Any, lookup: Lookup) -> str | list[str]:
    name = body.get("InputName", "")
    look = lookup.peek if isinstance(lookup, Metered) else lookup
    present = any(
        look(f".inputs.{kind}['{name}']") not in (UNKNOWN, None, [])
        for kind in ("parameters", "artifacts")
    )
    chosen = body.get("Then") if present else body.get("Else")
    return [] if chosen is None else _fill_structure(chosen, lookup)


_STRUCTURES: dict[str, Callable[[Any, Lookup], str | list[str]]] = {
    "Concat": _concat,
    "IfPresent": _if_present,
}
