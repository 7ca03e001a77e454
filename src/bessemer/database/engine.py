"""Opening the database: the only place that knows one SQL dialect from another."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import QueuePool

from bessemer.database.errors import DatabaseError, DiskFull

_BUSY_MS = 10_000  # how long a statement waits for another process' lock


def open_engine(url: str | URL, *, writer: bool) -> Engine:
    """An engine for one writing connection, or for several reading ones.

    Readers see one committed state through a whole transaction (SQLite: WAL snapshots).
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True)
    if not parsed.database or parsed.database == ":memory:":
        raise DatabaseError(
            f"the database must be a file, but got {str(url)!r}; write sqlite:////folder/history.db"
        )
    engine = create_engine(
        parsed,
        poolclass=QueuePool,
        pool_size=1 if writer else 8,
        connect_args={"check_same_thread": False, "isolation_level": None},
    )
    begin = "BEGIN IMMEDIATE" if writer else "BEGIN"

    @event.listens_for(engine, "connect")
    def set_pragmas(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA cache_size = -16000")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


@lru_cache(maxsize=64)
def _upsert(dialect: str, table: Table, keys: tuple[str, ...], kept: frozenset[str]) -> Insert:
    # By name: PostgreSQL's dialect is a tenth of a second of every start that doesn't need it. Its
    # insert has the same methods as SQLite's.
    insert: Insert = importlib.import_module(f"sqlalchemy.dialects.{dialect}").insert(table)
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
    text = str(error.orig)
    if "disk is full" in text or "No space left" in text or "disk I/O" in text:
        return DiskFull(
            f"the database needs room on the disk, but the system says {text!r}; "
            "free some space: nothing that was stored is lost"
        )
    if "not a database" in text or "malformed" in text:
        return DatabaseError(
            f"the database must be whole, but the system says {text!r}; "
            "restore history.db from a copy, or choose another home"
        )
    if "readonly" in text or "read-only" in text or "unable to open" in text:
        return DatabaseError(
            f"the database's folder must exist and be writable, but the system says {text!r}; "
            "mend the folder's rights or choose another home"
        )
    return DatabaseError(f"the database must take the statement, but it says {text!r}")


def is_about_all(error: BaseException) -> bool:
    """Whether the error is the database's own state (disk, lock), not the one statement's."""
    return isinstance(error, OperationalError)
