"""The types of parameters: what a value may be, and how it becomes text and back.

Source: backend/src/v2/component/launcher_v2.go (text of outputs), driver/resolve.go (inputs).
"""

from __future__ import annotations

import json
import math
import reprlib
from enum import StrEnum
from typing import Any

from bessemer.base.errors import BessemerError


class MistypedValue(BessemerError):
    """A value is not of the type that its parameter declares."""


class ParameterType(StrEnum):
    """A parameter's declared type, as ParameterType.ParameterTypeEnum spells it."""

    NUMBER_DOUBLE = "NUMBER_DOUBLE"  # int or float
    NUMBER_INTEGER = "NUMBER_INTEGER"  # int, or a float without a fraction
    STRING = "STRING"  # text; in a DAG anything else becomes its JSON text
    BOOLEAN = "BOOLEAN"  # true or false
    LIST = "LIST"  # a JSON array
    STRUCT = "STRUCT"  # a JSON object
    TASK_FINAL_STATUS = "TASK_FINAL_STATUS"  # how another task ended: a JSON object
    TASK_CONFIG = "TASK_CONFIG"  # the pod's own settings: a JSON object


_WORDS = {
    ParameterType.NUMBER_DOUBLE: "a number",
    ParameterType.NUMBER_INTEGER: "an integer",
    ParameterType.STRING: "a string",
    ParameterType.BOOLEAN: "true or false",
    ParameterType.LIST: "a list",
    ParameterType.STRUCT: "a JSON object",
    ParameterType.TASK_FINAL_STATUS: "a JSON object",
    ParameterType.TASK_CONFIG: "a JSON object",
}


MOST_DEPTH = 200  # of lists and objects in each other; who stores or prints a value recurses
_SAFE = 2**53  # up to it every whole number is a float of its own
_MOST_BITS = 1023  # of an integer that a float can come near to
_LONG = 2**63  # from it on an integer is no 64-bit one


def find_fault(value: Any) -> str:
    """Why a value is no JSON that can be stored and passed on; empty if it is."""
    pending = [(value, 0)]
    while pending:
        item, depth = pending.pop()
        if depth > MOST_DEPTH:
            return f"it is nested more than {MOST_DEPTH} levels deep"
        if isinstance(item, list):
            pending += [(child, depth + 1) for child in item]
        elif isinstance(item, dict):
            pending += [(child, depth + 1) for child in item.values()]
            if fault := next(filter(None, map(_find_key_fault, item)), ""):
                return fault
        elif fault := _find_scalar_fault(item):
            return fault
    return ""


def _find_key_fault(key: Any) -> str:
    if not isinstance(key, str):
        return f"the keys of an object must be texts, and {key!r} is none; quote it"
    return _find_scalar_fault(key)


def _find_scalar_fault(value: Any) -> str:
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            return f"{shorten(value)} holds half a surrogate pair, for which UTF-8 has no bytes"
    elif isinstance(value, float):
        if not math.isfinite(value):
            return f"it holds {value}, for which JSON has no number; write null or a text instead"
    elif isinstance(value, int):
        if value.bit_length() > _MOST_BITS:
            return "it holds a number that is too large"
    elif value is not None:
        return f"it holds {reprlib.repr(value)}, which is of no JSON type; quote it"
    return ""


def normalize(value: Any) -> Any:
    """The value with each whole number as an int, as JSON's 3.0 and 3 are the same number.

    Beyond what a float or 64 bits tell apart numbers are floats, as they all are upstream.
    """
    if isinstance(value, float) and value.is_integer() and abs(value) <= _SAFE:
        return int(value)
    if isinstance(value, int) and not -_LONG <= value < _LONG:
        return float(value)
    if isinstance(value, list):
        return [normalize(item) for item in value]
    if isinstance(value, dict):
        return {key: normalize(item) for key, item in value.items()}
    return value


def fits(value: Any, type_: ParameterType) -> bool:
    """Whether the (normalized) value is of that type; null fits none."""
    match type_:
        case ParameterType.STRING:
            return isinstance(value, str)
        case ParameterType.BOOLEAN:
            return isinstance(value, bool)
        case ParameterType.NUMBER_INTEGER:
            return isinstance(value, int) and not isinstance(value, bool)
        case ParameterType.NUMBER_DOUBLE:
            return isinstance(value, int | float) and not isinstance(value, bool)
        case ParameterType.LIST:
            return isinstance(value, list)
        case _:
            return isinstance(value, dict)


def check(name: str, value: Any, type_: ParameterType) -> Any:
    """The normalized value, if it fits.

    Raises:
        MistypedValue: it does not, or is no JSON; nothing is converted.
    """
    if fault := find_fault(value):
        raise MistypedValue(f"parameter {name!r} must be {_WORDS[type_]}, but {fault}")
    value = normalize(value)
    if not fits(value, type_):
        raise MistypedValue(
            f"parameter {name!r} must be {_WORDS[type_]} ({type_.value}), but got {shorten(value)}"
        )
    return value


def convert(name: str, value: Any, type_: ParameterType) -> Any:
    """The value as a task gets it: as check, but all but null fits a STRING as its text."""
    is_other = value is not None and not isinstance(value, str)
    if type_ is ParameterType.STRING and is_other and not find_fault(value):
        return to_text(value)
    return check(name, value, type_)


def to_text(value: Any) -> str:
    """A value as it stands in a command line: text as it is, whole floats as ints, else JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(normalize(value), ensure_ascii=False)


def from_text(name: str, text: str, type_: ParameterType) -> Any:
    """Read what a step wrote to the file of an output parameter.

    Raises:
        MistypedValue: the text is no value of that type.
    """
    if type_ is ParameterType.STRING:
        return text
    bare = text.strip()
    try:
        value = _parse(bare, type_)
    except (ValueError, RecursionError):
        raise MistypedValue(
            f"parameter {name!r} must be {_WORDS[type_]} ({type_.value}), "
            f"but its file holds {shorten(text)}"
        ) from None
    return check(name, value, type_)


def _parse(bare: str, type_: ParameterType) -> Any:
    if type_ is ParameterType.NUMBER_INTEGER:
        return int(bare)
    if type_ is ParameterType.NUMBER_DOUBLE:
        return float(bare)
    if type_ is ParameterType.BOOLEAN:
        # Go's strconv.ParseBool, which reads them upstream; str(True) of Python is among them.
        if bare in ("1", "t", "T", "true", "True", "TRUE"):
            return True
        if bare in ("0", "f", "F", "false", "False", "FALSE"):
            return False
        raise ValueError(bare)
    return json.loads(bare)


def shorten(value: Any, limit: int = 80) -> str:
    """A value as an error message shows it, be it JSON or not."""
    if isinstance(value, str):
        text = repr(value[: limit + 1])
    else:
        text = reprlib.repr(value) if find_fault(value) else to_text(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
