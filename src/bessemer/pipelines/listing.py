"""Filters of listings, as KFP's clients write them: JSON of v2beta1 Filter.

How a listing goes from page to page is in ``web.paging``. Source of the forms: KFP apiserver/list,
apiserver/filter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

import orjson
from sqlalchemy import ColumnElement, Table, exists, func, select
from sqlalchemy.sql.schema import Column

from bessemer.base.clock import parse_time
from bessemer.database.tables import Moment
from bessemer.pipelines.tables import TAGS
from bessemer.web import paging
from bessemer.web.errors import InvalidArgument
from bessemer.web.paging import Fields, Query


def parse(params: Mapping[str, str], fields: Fields) -> Query:
    """Read page_size, page_token, sort_by and filter; empty values are as good as absent.

    Raises:
        InvalidArgument: one of them breaks a rule.
    """
    return paging.parse(params, fields, _parse_filter)


# Operation numbers and names of v2beta1 Predicate, and what they compare.
_OPERATIONS: Mapping[str, Callable[[Any, Any], ColumnElement[bool]]] = {
    "EQUALS": lambda column, value: column == value,
    "NOT_EQUALS": lambda column, value: column != value,
    "GREATER_THAN": lambda column, value: column > value,
    "GREATER_THAN_EQUALS": lambda column, value: column >= value,
    "LESS_THAN": lambda column, value: column < value,
    "LESS_THAN_EQUALS": lambda column, value: column <= value,
    "IN": lambda column, value: column.in_(value),
    "IS_SUBSTRING": lambda column, value: func.lower(column).contains(
        value.lower(), autoescape=True
    ),
}
_NUMBERS = {
    1: "EQUALS",
    2: "NOT_EQUALS",
    3: "GREATER_THAN",
    5: "GREATER_THAN_EQUALS",
    6: "LESS_THAN",
    7: "LESS_THAN_EQUALS",
    8: "IN",
    9: "IS_SUBSTRING",
}
_VALUES = (
    "string_value",
    "timestamp_value",
    "int_value",
    "long_value",
    "string_values",
    "int_values",
    "long_values",
)
_CAMEL = {name.replace("_v", "V"): name for name in _VALUES}


def _parse_filter(text: str, fields: Fields) -> tuple[ColumnElement[bool], ...]:
    document = _load_filter(text)
    predicates = document.get("predicates", [])
    if set(document) - {"predicates"} or not isinstance(predicates, list):
        raise InvalidArgument(
            f'filter must be {{"predicates": [...]}}, but got {text[:200]!r}; '
            "see filter.proto of Kubeflow Pipelines"
        )
    return tuple(_parse_predicate(predicate, fields) for predicate in predicates)


def _load_filter(text: str) -> dict[str, Any]:
    # Some clients encode the JSON for a URL once more than HTTP does.
    for candidate in (text, unquote_plus(text)):
        try:
            document = orjson.loads(candidate)
        except ValueError:
            continue
        if isinstance(document, dict):
            return document
    raise InvalidArgument(f"filter must be a JSON object, but got {text[:200]!r}")


def _parse_predicate(predicate: object, fields: Fields) -> ColumnElement[bool]:
    if not isinstance(predicate, dict):
        raise InvalidArgument(f"a filter's predicate must be an object, but got {predicate!r}")
    parts = {_CAMEL.get(key, key): value for key, value in predicate.items()}
    if unknown := sorted(str(key) for key in parts.keys() - {"operation", "key", *_VALUES}):
        raise InvalidArgument(f"a filter's predicate has no field {unknown[0]!r}")
    operation = parts.get("operation")
    name = _NUMBERS.get(operation, "") if type(operation) is int else str(operation)
    if name not in _OPERATIONS:
        raise InvalidArgument(
            f"a filter's operation must be one of {', '.join(_OPERATIONS)}, but got {operation!r}"
        )
    given = [value for value in _VALUES if value in parts]
    if len(given) != 1:
        raise InvalidArgument(
            f"a filter's predicate must have exactly one of {', '.join(_VALUES)}, but got {given}"
        )
    key = str(parts.get("key", ""))
    value = _read_value(given[0], parts[given[0]], plural=name == "IN")
    if fields.tags and key.startswith("tags."):
        return _has_tag(fields.table, key.removeprefix("tags."), name, value)
    if key not in fields.columns:
        raise InvalidArgument(
            f"a filter's key must be one of {', '.join(sorted(fields.columns))}, but got {key!r}"
        )
    return _OPERATIONS[name](fields.columns[key], _fit(key, fields.columns[key], name, value))


def _read_value(field: str, value: Any, *, plural: bool) -> Any:
    if field.endswith("values") != plural:
        raise InvalidArgument(
            f"IN takes a list of values and the other operations one value, but got {field}"
        )
    if plural:
        inner = value.get("values") if isinstance(value, dict) else value
        if not isinstance(inner, list):
            raise InvalidArgument(f'{field} must be {{"values": [...]}}, but got {value!r}')
        return [_read_value(field.removesuffix("s"), one, plural=False) for one in inner]
    try:
        if field == "timestamp_value":
            return parse_time(str(value))
        return str(value) if field == "string_value" else int(value)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"{field} is malformed: {value!r}") from error


def _fit(key: str, column: Column[Any], operation: str, value: Any) -> Any:
    """Check that the value is of the column's kind; a time may also come as text."""
    is_time = isinstance(column.type, Moment)
    if is_time and isinstance(value, str) and operation != "IS_SUBSTRING":
        return _read_value("timestamp_value", value, plural=False)
    wanted: type = datetime if is_time else str
    values = value if isinstance(value, list) else [value]
    if any(not isinstance(one, wanted) for one in values):
        raise InvalidArgument(
            f"{key} is compared with a {'timestamp_value' if is_time else 'string_value'}, "
            f"but got {value!r}"
        )
    if operation == "IS_SUBSTRING" and is_time:
        raise InvalidArgument(f"IS_SUBSTRING looks into text, but {key} is a time")
    return value


def _has_tag(table: Table, key: str, operation: str, value: Any) -> ColumnElement[bool]:
    if operation != "EQUALS" or not isinstance(value, str):
        raise InvalidArgument(f"tags.{key} takes EQUALS with a string_value, but got {operation}")
    return exists(
        select(TAGS.c.owner_id).where(
            TAGS.c.owner_id == table.c.id, TAGS.c.key == key, TAGS.c.value == value
        )
    )
