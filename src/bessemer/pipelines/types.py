"""The types of parameters: what a value may be, and how it becomes text and back.

Source: backend/src/v2/component/launcher_v2.go (text of outputs), driver/resolve.go (inputs).
"""

from __future__ import annotations

import json
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


def normalize(value: Any) -> Any:
    """The value with every whole float as an int: JSON's 3.0 and 3 are the same number."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
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
        MistypedValue: it does not; nothing is converted.
    """
    value = normalize(value)
    if not fits(value, type_):
        raise MistypedValue(
            f"parameter {name!r} must be {_WORDS[type_]} ({type_.value}), but got {shorten(value)}"
        )
    return value


def convert(name: str, value: Any, type_: ParameterType) -> Any:
    """The value as a task gets it: as check, but anything fits a STRING as its text."""
    if type_ is ParameterType.STRING and not isinstance(value, str):
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
    except ValueError:
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
    """A value as an error message shows it."""
    text = repr(value) if isinstance(value, str) else to_text(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
