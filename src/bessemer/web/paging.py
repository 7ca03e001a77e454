"""Pages of a table: sort orders, and the tokens that go from one page to the next.

A page is found by its place (the sort field's value and the id of the row before it), never by
counting rows, so that the last page costs what the first does.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    RowMapping,
    Table,
    and_,
    func,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.sql.schema import Column

from bessemer.database.tables import Moment, micros_of
from bessemer.web.errors import InvalidArgument

DEFAULT_SIZE = 20
MAX_SIZE = 200


@dataclass(frozen=True)
class Fields:
    """What a table can be sorted and filtered by: the API's names and their columns."""

    table: Table
    columns: Mapping[str, Column[Any]]
    tags: bool = False  # whether "tags.<key>" is a filter key


#: A filter's text as SQL conditions, to be AND-ed.
ReadFilter = Callable[[str, Fields], tuple[ColumnElement[bool], ...]]


@dataclass(frozen=True)
class Query:
    """A page that is asked for.

    Attributes:
        conditions: the filter as SQL, AND-ed.
        after: the place of the last row of the page before; None for the first page.
    """

    fields: Fields
    sort: str = "created_at"
    descending: bool = False
    size: int = DEFAULT_SIZE
    conditions: tuple[ColumnElement[bool], ...] = ()
    filter: str = ""
    after: tuple[Any, str] | None = None


@dataclass(frozen=True)
class Page:
    """The rows found, how many there are on all pages, and the token of the next page."""

    rows: Sequence[RowMapping]
    total: int
    next_token: str = ""


def parse(params: Mapping[str, str], fields: Fields, read_filter: ReadFilter) -> Query:
    """Read page_size, page_token, sort_by and filter; empty values are as good as absent.

    ``read_filter`` reads the face's own form of filters.

    Raises:
        InvalidArgument: one of them breaks a rule.
    """
    size = _parse_size(params.get("page_size", ""))
    sort, descending = _parse_sort(params.get("sort_by", ""), fields)
    filter_ = params.get("filter", "")
    after = None
    if token := params.get("page_token", ""):
        cursor = _decode(token)
        _check_same("sort_by", params.get("sort_by", ""), f"{sort} {descending}", cursor["sort"])
        _check_same("filter", filter_, filter_, cursor["filter"])
        sort, _, direction = cursor["sort"].partition(" ")
        if sort not in fields.columns or not _is_place(fields.columns[sort], cursor.get("value")):
            raise _bad_token(token)
        descending, filter_ = direction == "True", cursor["filter"]
        after = (cursor["value"], cursor["id"])
    conditions = read_filter(filter_, fields) if filter_ else ()
    return Query(fields, sort, descending, size, conditions, filter_, after)


def _parse_size(text: str) -> int:
    try:
        size = int(text or 0)
    except ValueError:
        size = -1
    if size < 0:
        raise InvalidArgument(
            f"page_size must be a whole number from 0 to {MAX_SIZE}, but got {text!r}; "
            f"leave it out for {DEFAULT_SIZE}"
        )
    return min(size, MAX_SIZE) or DEFAULT_SIZE


def _parse_sort(text: str, fields: Fields) -> tuple[str, bool]:
    words = text.lower().split()
    if not words:
        return "created_at", False
    if len(words) > 2 or words[1:] not in ([], ["asc"], ["desc"]):
        raise InvalidArgument(f"sort_by must be '<field>' or '<field> asc|desc', but got {text!r}")
    if words[0] not in fields.columns:
        raise InvalidArgument(
            f"sort_by must name one of {', '.join(sorted(fields.columns))}, but got {words[0]!r}"
        )
    return words[0], words[1:] == ["desc"]


def _check_same(name: str, given: str, wanted: str, remembered: str) -> None:
    if given and wanted != remembered:
        raise InvalidArgument(
            f"{name} must stay the same from page to page, but got {given!r} with a page_token of "
            "another listing; leave it out, or start without page_token"
        )


def _bad_token(token: str) -> InvalidArgument:
    return InvalidArgument(
        f"page_token must be a next_page_token that this listing returned, but got {token[:80]!r}"
    )


def _is_place(column: Column[Any], value: object) -> bool:
    """Whether a column can have that value, as a token holds it: moments as microseconds."""
    if isinstance(column.type, Moment):
        return type(value) is int and abs(value) < 1 << 63
    return isinstance(value, str)


def _decode(token: str) -> dict[str, Any]:
    try:
        cursor = orjson.loads(base64.b64decode(token, validate=True))
    except (binascii.Error, ValueError) as error:
        raise _bad_token(token) from error
    texts = ("sort", "filter", "id")
    if not isinstance(cursor, dict) or any(not isinstance(cursor.get(key), str) for key in texts):
        raise _bad_token(token)
    return cursor


def run(connection: Connection, query: Query, where: Sequence[ColumnElement[bool]] = ()) -> Page:
    """Fetch the page of the rows that fulfil ``where`` and the filter."""
    table, column = query.fields.table, query.fields.columns[query.sort]
    conditions = [*where, *query.conditions]
    total = connection.execute(
        select(func.count()).select_from(table).where(*conditions)
    ).scalar_one()
    if query.after is not None:
        conditions.append(_beyond(column, table.c.id, query))
    order = (column.desc(), table.c.id.desc()) if query.descending else (column, table.c.id)
    statement = select(table).where(*conditions).order_by(*order).limit(query.size + 1)
    rows = connection.execute(statement).mappings().all()
    if len(rows) <= query.size:
        return Page(rows, total)
    rows = rows[: query.size]
    return Page(rows, total, _encode(query, rows[-1], column))


def _beyond(column: ColumnElement[Any], id_: Column[str], query: Query) -> ColumnElement[bool]:
    value, last = query.after or (0, "")
    if isinstance(column.type, Moment):
        # As the number that it is: an absent moment is 0 there, and no None.
        column = type_coerce(column, BigInteger)
    if query.descending:
        return or_(column < value, and_(column == value, id_ < last))
    return or_(column > value, and_(column == value, id_ > last))


def _encode(query: Query, row: RowMapping, column: Column[Any]) -> str:
    value = row[column.name]
    if isinstance(column.type, Moment):
        value = micros_of(value)
    cursor = {
        "sort": f"{query.sort} {query.descending}",
        "filter": query.filter,
        "value": value,
        "id": row["id"],
    }
    return base64.b64encode(orjson.dumps(cursor)).decode()
