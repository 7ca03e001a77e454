"""SQLite: how a file is opened, and what its errors mean.

One process' writers and readers are apart by WAL; processes that write wait for each other.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from bessemer.database.errors import DatabaseError, DiskFull

# How often the switch to WAL is tried beside others who do the same.
_WAL_TRIES = 10
_BUSY_MS = 10_000  # how long a statement waits for another process' lock
# Pages that a connection keeps. A reader's are void with the next commit, and the system keeps the
# file's pages anyway; SQLite never gives back what it once took.
_READER_CACHE_KIB = 1024
_WRITER_CACHE_KIB = 4096
# Bytes of the write-ahead log that stay on the disk once it is folded into the file.
_LOG_BYTES = 8 * 1024 * 1024
# Bytes of one bound value from which on its connection is closed after the transaction: prepared
# statements are kept for their next use, and each keeps the values that it was last bound to.
_LARGE_VALUE = 256 * 1024


class _Connection(sqlite3.Connection):
    """Knows whether a large value was bound in it."""

    has_large = False

    def cursor(self, factory: type[sqlite3.Cursor] | None = None) -> Any:  # type: ignore[override]
        """As SQLite's, but one that looks at what is bound."""
        return super().cursor(factory or _Cursor)


class _Cursor(sqlite3.Cursor):
    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        self._look_at(parameters)
        return super().execute(sql, parameters)

    def executemany(self, sql: str, rows: Any, /) -> Any:
        for row in rows:
            self._look_at(row)
        return super().executemany(sql, rows)

    def _look_at(self, parameters: Iterable[object]) -> None:
        for value in parameters:
            if isinstance(value, (bytes, str)) and len(value) > _LARGE_VALUE:
                connection = self.connection
                assert isinstance(connection, _Connection), "it makes only cursors of its own"
                connection.has_large = True


def open_engine(url: URL, *, writer: bool) -> Engine:
    """An engine for one writing connection, or for several reading ones.

    Readers see one committed state through a whole transaction (WAL snapshots).
    """
    if not url.database or url.database == ":memory:":
        raise DatabaseError(
            f"the database must be a file, but got {str(url)!r}; write sqlite:////folder/history.db"
        )
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=1 if writer else 8,
        connect_args={
            "check_same_thread": False,
            "isolation_level": None,
            "factory": _Connection,
        },
    )
    begin = "BEGIN IMMEDIATE" if writer else "BEGIN"
    cache = _WRITER_CACHE_KIB if writer else _READER_CACHE_KIB

    @event.listens_for(engine, "connect")
    def set_pragmas(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        _use_wal(cursor)
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute(f"PRAGMA cache_size = -{cache}")
        cursor.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    @event.listens_for(engine, "checkin")
    def let_go_of_large_values(
        connection: _Connection | None, record: ConnectionPoolEntry
    ) -> None:
        if connection is not None and connection.has_large:
            record.invalidate()

    return engine


def explain(error: DBAPIError) -> DatabaseError:
    """The driver's error as one of ours; SQLite's own tell what they are in words alone."""
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


def _use_wal(cursor: sqlite3.Cursor) -> None:
    """Have changes go to a log beside the file. It is once for all, and waits for nobody.

    Whoever switches while another one does is told "locked" at once, whatever the time-out; the
    lock of a transaction, which does wait, tells when that one is through.
    """
    for _ in range(_WAL_TRIES):
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            cursor.execute("BEGIN IMMEDIATE")
            cursor.execute("COMMIT")
        else:
            return
    cursor.execute("PRAGMA journal_mode = WAL")
