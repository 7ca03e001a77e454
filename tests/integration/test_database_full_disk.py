"""What frees room in the history gets through on a full disk, by the room that is kept for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Column, Connection, Integer, LargeBinary, MetaData, Table, delete, select

import bessemer.pipelines.tables  # noqa: F401 - the schema is checked against the rooms' tables
import harness
from bessemer.cluster.store.reserve import Reserve
from bessemer.database.database import Database
from bessemer.database.errors import DiskFull

ROWS = Table("rows", MetaData(), Column("n", Integer, primary_key=True), Column("x", LargeBinary))
MIB = 2**20


def insert(connection: Connection) -> None:
    connection.execute(ROWS.insert().values(x=bytes(MIB)))


def clear(connection: Connection) -> None:
    connection.execute(delete(ROWS))


async def fill(database: Database, *, frees: bool = False) -> None:
    """Write more than the log can still have room for."""
    for _ in range(8):
        await database.write(insert, frees=frees)


async def test_a_deletion_gets_the_room_that_is_kept(small_disk: Path) -> None:
    reserve = Reserve(small_disk / "reserve")
    assert reserve.make()
    database = Database(f"sqlite:///{small_disk}/history.db", reserve.release)
    await database.start()
    await database.write(ROWS.create)
    for _ in range(4):
        await database.write(insert)
    harness.fill_disk(small_disk / "ballast")

    with pytest.raises(DiskFull):
        await fill(database)
    await database.write(clear, frees=True)

    assert (small_disk / "reserve").stat().st_size == 0
    assert await database.read(lambda connection: connection.execute(select(ROWS)).all()) == []
    await database.close()


async def test_without_kept_room_it_is_refused(small_disk: Path) -> None:
    reserve = Reserve(small_disk / "reserve")
    database = Database(f"sqlite:///{small_disk}/history.db", reserve.release)
    await database.start()
    await database.write(ROWS.create)
    harness.fill_disk(small_disk / "ballast")

    with pytest.raises(DiskFull):
        await fill(database, frees=True)
    await database.close()
