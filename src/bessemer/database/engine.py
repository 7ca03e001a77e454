"""Opening the database: which dialect a URL means, and what differs between them.

``sqlite`` and ``postgresql`` know their own; nobody else knows one from another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, make_url
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.dialects.sqlite import insert as insert_into_sqlite
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError

from bessemer.database import postgresql, sqlite
from bessemer.database.errors import DatabaseError

#: PostgreSQL's INSERT has the same methods as SQLite's.
_INSERTS: Mapping[str, Callable[[Table], Insert]] = {
    "sqlite": insert_into_sqlite,
    "postgresql": postgresql.insert,
}


def open_engine(url: str | URL, *, writer: bool) -> Engine:
    """An engine for one writing connection, or for several reading ones.

    Readers see one committed state through a whole transaction.

    Raises:
        DatabaseError: the URL is of no database that we know, or its driver is not there.
    """
    parsed = make_url(url)
    match parsed.get_backend_name():
        case "sqlite":
            return sqlite.open_engine(parsed, writer=writer)
        case "postgresql":
            return postgresql.open_engine(parsed, writer=writer)
        case other:
            raise DatabaseError(
                f"the database must be SQLite or PostgreSQL, but got {other!r}; write "
                "sqlite:////folder/history.db or postgresql://user@host/name"
            )


@lru_cache(maxsize=64)
def _upsert(dialect: str, table: Table, keys: tuple[str, ...], kept: frozenset[str]) -> Insert:
    insert = _INSERTS[dialect](table)
    changed = {
        column.name: insert.excluded[column.name]
        for column in table.columns
        if column.name not in keys and column.name not in kept
    }
    if not changed:
        return insert.on_conflict_do_nothing(index_elements=list(keys))
    return insert.on_conflict_do_update(index_elements=list(keys), set_=changed)


def upsert(
    connection: Connection,
    table: Table,
    rows: Iterable[Mapping[str, Any]],
    *,
    kept: Iterable[str] = (),
) -> None:
    """Insert rows, or replace those of the same primary key, all but the ``kept`` columns."""
    values = [dict(row) for row in rows]
    if values:
        keys = tuple(column.name for column in table.primary_key)
        statement = _upsert(connection.dialect.name, table, keys, frozenset(kept))
        connection.execute(statement, values)


def explain(error: DBAPIError) -> DatabaseError:
    """The driver's error as one of ours."""
    if type(error.orig).__module__.startswith("sqlite3"):
        return sqlite.explain(error)
    return postgresql.explain(error)


def is_about_all(error: BaseException) -> bool:
    """Whether the error is the database's own state (disk, lock, server), not the statement's."""
    return isinstance(error, OperationalError | InternalError | InterfaceError)
