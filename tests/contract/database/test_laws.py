"""The laws of ``database.Database``, over each database that Bessemer keeps its history in."""

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    Table,
    delete,
    func,
    inspect,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

import postgresql_server
from bessemer.database import postgresql as postgresql_dialect
from bessemer.database import schema, upgrade
from bessemer.database.database import Database
from bessemer.database.engine import open_engine, upsert
from bessemer.database.errors import DatabaseError
from bessemer.database.migrations import HEAD, TABLES
from bessemer.database.tables import METADATA, Json, Words

NUMBERS = Table("numbers", MetaData(), Column("n", Integer, primary_key=True))
TEXTS = Table(
    "texts", MetaData(), Column("text", Words(8), primary_key=True), Column("value", Json)
)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    await database.start()
    await database.write(NUMBERS.create)
    await database.write(TEXTS.create)
    yield database
    await database.close()


def insert(n: int) -> Callable[[Connection], int]:
    def write(connection: Connection) -> int:
        connection.execute(NUMBERS.insert().values(n=n))
        return n

    return write


def count(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(NUMBERS)).scalar_one()


async def test_writes_that_wait_together_share_a_commit_and_all_arrive(database: Database) -> None:
    seen = await asyncio.gather(*(database.write(insert(n)) for n in range(1000)))

    assert seen == list(range(1000))
    assert await database.read(count) == 1000


async def test_a_failing_write_undoes_itself_alone(database: Database) -> None:
    def fail(connection: Connection) -> None:
        connection.execute(NUMBERS.insert().values(n=-1))
        raise ValueError("on purpose")

    writes = [insert(1), fail, insert(1), insert(2)]
    results = await asyncio.gather(
        *(database.write(write) for write in writes), return_exceptions=True
    )

    assert results[0] == 1
    assert isinstance(results[1], ValueError)
    assert isinstance(results[2], IntegrityError)
    assert results[3] == 2
    found = await database.read(lambda c: list(c.execute(select(NUMBERS.c.n)).scalars()))
    assert sorted(found) == [1, 2]


async def test_a_read_sees_one_state_from_first_to_last_statement(database: Database) -> None:
    loop = asyncio.get_running_loop()

    def read(connection: Connection) -> tuple[int, int]:
        first = count(connection)
        asyncio.run_coroutine_threadsafe(database.write(insert(1)), loop).result()
        return first, count(connection)

    assert await database.read(read) == (0, 0)
    assert await database.read(count) == 1


async def test_a_lost_connection_costs_one_write_alone(database: Database) -> None:
    """What a server's database does at any moment: SQLAlchemy's own errors come of it then."""
    held = threading.Event()

    def lose(connection: Connection) -> None:
        connection.invalidate()

    writes = [lambda _connection: held.wait(30), insert(1), lose, insert(2)]
    results = asyncio.gather(*(database.write(write) for write in writes), return_exceptions=True)
    await asyncio.sleep(0)  # now all of them wait in line; those behind the first share a commit
    held.set()

    async with asyncio.timeout(30):
        _, one, lost, two = await results
        assert (one, two) == (1, 2)
        assert isinstance(lost, SQLAlchemyError)
        found = await database.read(lambda c: list(c.execute(select(NUMBERS.c.n)).scalars()))
        assert sorted(found) == [1, 2]
        assert await database.write(insert(3)) == 3


async def test_a_second_process_writes_after_the_first_and_loses_nothing(
    database: Database, database_url: str
) -> None:
    """What was read in a write is so until its commit."""
    await database.write(insert(0))
    other = Database(database_url)
    await other.start()

    def increase(connection: Connection) -> None:
        n = connection.execute(select(NUMBERS.c.n)).scalar_one()
        connection.execute(update(NUMBERS).values(n=n + 1))

    try:
        writes = [each.write(increase) for _ in range(50) for each in (database, other)]
        await asyncio.gather(*writes)
        assert await other.read(lambda c: c.execute(select(NUMBERS.c.n)).scalar_one()) == 100
    finally:
        await other.close()


async def test_several_that_start_at_once_make_one_set_of_tables(database_url: str) -> None:
    databases = [Database(database_url) for _ in range(3)]
    try:
        await asyncio.gather(*(database.start() for database in databases))
        for database in databases:
            assert await database.read(schema.current_revision) == HEAD
    finally:
        for database in databases:
            await database.close()


async def test_an_upsert_replaces_all_but_what_is_kept(database: Database) -> None:
    def write(connection: Connection, value: int, **options: object) -> None:
        rows = [{"text": "a", "value": value}, {"text": "b", "value": {"deep": [value]}}]
        upsert(connection, TEXTS, rows, **options)  # type: ignore[arg-type]  # test data

    def read(connection: Connection) -> list[object]:
        return list(connection.execute(select(TEXTS.c.value).order_by(TEXTS.c.text)).scalars())

    await database.write(lambda connection: write(connection, 1))
    await database.write(lambda connection: write(connection, 2))
    assert await database.read(read) == [2, {"deep": [2]}]
    await database.write(lambda connection: write(connection, 3, kept=["value"]))
    assert await database.read(read) == [2, {"deep": [2]}]


async def test_text_is_kept_and_sorted_by_its_code_points_whatever_is_in_it(
    database: Database,
) -> None:
    """A log's end, which is part of an error, may hold anything; lengths are meant, not held."""
    texts = ["b", "B", "a", "é", "Z", "_", "ab", "a b", "", "😀", "￿", "x" * 3000, "nul\0nul"]
    kept = [text.replace("\0", "\ufffd") for text in texts]
    for text in texts:
        row = TEXTS.insert().values(text=text, value=None)
        await database.write(functools.partial(Connection.execute, statement=row))

    found = await database.read(
        lambda c: list(c.execute(select(TEXTS.c.text).order_by(TEXTS.c.text)).scalars())
    )

    assert found == sorted(kept, key=lambda text: text.encode())
    gone = delete(TEXTS).where(TEXTS.c.text == "nul\0nul")
    assert await database.write(lambda connection: connection.execute(gone).rowcount) == 1


def test_migrations_and_declarations_make_the_same_database(database_url: str) -> None:
    engine = open_engine(database_url, writer=True)
    try:
        with engine.begin() as connection:
            upgrade.upgrade(connection)
            assert schema.current_revision(connection) == HEAD
        migrated = _shape(engine)
        with engine.begin() as connection:
            METADATA.drop_all(connection)
            METADATA.create_all(connection)
        assert _shape(engine) == migrated
    finally:
        engine.dispose()


def _shape(engine: Engine) -> list[str]:
    """Columns, keys and indexes as the database tells them, each as text."""
    inspector = inspect(engine)
    found = []
    for table in sorted(TABLES):
        columns = [
            {**column, "type": repr(column["type"])} for column in inspector.get_columns(table)
        ]
        keys = [inspector.get_pk_constraint(table), *inspector.get_unique_constraints(table)]
        parts = [*columns, *keys, *inspector.get_indexes(table)]
        found += sorted(f"{table} {part}" for part in parts)
    return found


@pytest.mark.xdist_group("postgresql")
async def test_a_read_can_t_write_where_the_database_keeps_it_from_it(
    postgresql: postgresql_server.Server,
) -> None:
    database = Database(postgresql.create())
    await database.start()
    await database.write(NUMBERS.create)
    with pytest.raises(DatabaseError, match="must be writable"):
        await database.read(insert(1))
    assert await database.read(count) == 0
    await database.close()


@pytest.mark.xdist_group("postgresql")
async def test_a_server_s_restart_costs_the_writes_under_way_alone(
    postgresql: postgresql_server.Server,
) -> None:
    database = Database(postgresql.create())
    await database.start()
    await database.write(NUMBERS.create)
    begun, may_go = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        insert(1)(connection)
        begun.set()
        may_go.wait(30)
        insert(2)(connection)

    writing = asyncio.create_task(database.write(slow))
    try:
        await asyncio.to_thread(begun.wait)
        await asyncio.to_thread(postgresql.restart)
        may_go.set()
        with pytest.raises(DatabaseError, match="server must take connections"):
            await writing
        assert await database.read(count) == 0
        assert await database.write(insert(3)) == 3
    finally:
        await database.close()


async def test_a_server_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    database = Database(f"postgresql://nobody@/none?host={tmp_path}")

    with pytest.raises(DatabaseError, match="see that it runs, and that address, name"):
        await database.start()
    await database.close()


@pytest.mark.xdist_group("postgresql")
async def test_a_writer_that_never_ends_is_told_after_a_while(
    postgresql: postgresql_server.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_dialect, "LOCK_SECONDS", 1)
    url = postgresql.create()
    database, other = Database(url), Database(url)
    await database.start()
    await other.start()
    begun, may_go = threading.Event(), threading.Event()

    def hold(_connection: Connection) -> None:
        begun.set()
        may_go.wait(30)

    holding = asyncio.create_task(other.write(hold))
    try:
        await asyncio.to_thread(begun.wait)
        with pytest.raises(DatabaseError, match="a write waits at most 1 s"):
            await database.write(NUMBERS.create)
        may_go.set()
        await holding
        await database.write(NUMBERS.create)
    finally:
        await database.close()
        await other.close()


def test_other_databases_are_refused() -> None:
    with pytest.raises(DatabaseError, match="SQLite or PostgreSQL, but got 'mysql'"):
        Database("mysql://root@localhost/history")
