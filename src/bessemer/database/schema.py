"""Giving a database its tables: made at once when it is new, upgraded step by step when it is old.

A new database is made from the rooms' table declarations and stamped with the newest revision;
a test holds those declarations and the chain of migrations equal. Alembic is imported only when
there is something to upgrade: it would take a fifth of the time to ready.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, inspect, select

from bessemer.base import lazily
from bessemer.database.errors import DatabaseError, NewerDatabase
from bessemer.database.migrations import HEAD, REVISIONS, TABLES
from bessemer.database.tables import METADATA

if TYPE_CHECKING:
    from bessemer.database import upgrade
else:
    upgrade = lazily.module("bessemer.database.upgrade")

# Alembic's own table, declared apart from ours so that Alembic may make it too.
_VERSION = Table(
    "alembic_version", MetaData(), Column("version_num", String(32), primary_key=True)
)


def prepare(engine: Engine) -> None:
    """Bring the database to the newest form, in one transaction.

    Raises:
        NewerDatabase: its form is newer than this program.
    """
    with engine.begin() as connection:
        revision = current_revision(connection)
        if revision == HEAD:
            return
        if revision is None:
            _create(connection)
        elif revision in REVISIONS:
            upgrade.upgrade(connection)
        else:
            raise NewerDatabase(
                f"this program knows databases up to revision {HEAD}, but found {revision}; "
                "use the newer Bessemer that wrote it, or another home"
            )


def current_revision(connection: Connection) -> str | None:
    """The database's revision; None when it has no tables yet."""
    if not inspect(connection).has_table(_VERSION.name):
        return None
    return connection.execute(select(_VERSION.c.version_num)).scalar()


def _create(connection: Connection) -> None:
    if declared := TABLES ^ METADATA.tables.keys():
        raise DatabaseError(
            "the rooms' tables and the migrations must name the same tables, but they differ in "
            f"{sorted(declared)}; import every room's tables before start, or add a migration"
        )
    if others := inspect(connection).get_table_names():
        raise DatabaseError(
            "the database must be new or a Bessemer's, but is another program's file (with "
            f"{others[0]}); put back the history.db that belongs to this home"
        )
    METADATA.create_all(connection, checkfirst=False)
    _VERSION.create(connection)
    connection.execute(_VERSION.insert().values(version_num=HEAD))
