"""PostgreSQL: how a server is reached, what its transactions see, and what its errors mean.

Writes of all processes happen one after the other, as they do in SQLite: each write transaction
begins by taking one lock of the database (``pg_advisory_xact_lock``), which ends with it. So code
that is right by itself is right among others, at READ COMMITTED, where each statement sees what
was committed before it. SERIALIZABLE would promise as much, but by refusing transactions, also
such as do each other no harm (what reads a small table whole conflicts with each write to it),
and who shares a commit would be refused with all the others in it. Several replicas write no
faster than one because of that; it is 256 writes to a commit that make it fast.

Reads see one committed state to their end: REPEATABLE READ, read only.
"""

from __future__ import annotations

import importlib
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from bessemer.database.errors import DatabaseError, DiskFull

_LOCK = int.from_bytes(b"bessemer", "big")  # of the database; any number that nobody else takes
LOCK_SECONDS = 10  # how long a write waits for another process'
_CONNECT_SECONDS = 10
_READERS = 8


def open_engine(url: URL, *, writer: bool) -> Engine:
    """An engine for one writing connection, or for several reading ones.

    Raises:
        DatabaseError: the driver is not installed.
    """
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    settings = {
        "lock_timeout": f"{LOCK_SECONDS}s",
        # What is told as stored is, whatever the server's own setting.
        "synchronous_commit": "on",
    }
    try:
        engine = create_engine(
            url,
            poolclass=QueuePool,
            pool_size=1 if writer else _READERS,
            max_overflow=0,
            pool_pre_ping=True,  # the server may have been restarted since
            isolation_level="READ COMMITTED" if writer else "REPEATABLE READ",
            execution_options={} if writer else {"postgresql_readonly": True},
            connect_args={
                "application_name": "bessemer",
                "connect_timeout": _CONNECT_SECONDS,
                "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
            },
        )
    except ModuleNotFoundError as error:
        raise DatabaseError(
            f"a database on PostgreSQL needs its driver, but there is none ({error.name}); "
            "install bessemer[postgresql]"
        ) from error
    if writer:
        event.listen(engine, "begin", _lock)
    return engine


def _lock(connection: Connection) -> None:
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")


def insert(table: Any) -> Any:
    """An INSERT that can say what to do where the row is there already.

    By name: the dialect takes a tenth of a second to import, which who has SQLite does without.
    """
    return importlib.import_module("sqlalchemy.dialects.postgresql").insert(table)


def explain(error: DBAPIError) -> DatabaseError:
    """The driver's error as one of ours. Source: PostgreSQL, appendix "Error Codes"."""
    code = str(getattr(error.orig, "sqlstate", None) or "")
    text = str(error.orig).strip()
    if code == "53100":
        return DiskFull(
            f"the database needs room on its disk, but the server says {text!r}; "
            "free some space there: nothing that was stored is lost"
        )
    if code in ("25006", "42501"):
        return DatabaseError(
            f"the database must be writable, but the server says {text!r}; "
            "name the primary, and a role that may create tables"
        )
    if code == "55P03":
        return DatabaseError(
            f"a write waits at most {LOCK_SECONDS} s for other writers, but the server says "
            f"{text!r}; look into pg_stat_activity for who has begun one and does not end it"
        )
    if not code or code.startswith(("08", "28", "3D", "57P")):
        return DatabaseError(
            f"the database's server must take connections, but says {text!r}; "
            "see that it runs, and that address, name and password are right"
        )
    return DatabaseError(f"the database must take the statement, but it says {text!r} ({code})")
