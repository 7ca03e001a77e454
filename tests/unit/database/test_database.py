import asyncio
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    create_engine,
    func,
    select,
    text,
)
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from bessemer.database.database import Database
from bessemer.database.errors import DatabaseError, DiskFull

NUMBERS = Table("numbers", MetaData(), Column("n", Integer, primary_key=True))


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/history.db")
    await database.start()
    await database.write(NUMBERS.create)
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

    writes: list[Callable[[Connection], Any]] = [insert(1), fail, insert(1), insert(2)]
    results: list[Any] = await asyncio.gather(
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


async def test_a_full_disk_refuses_the_write_keeps_the_rest_and_later_writes_work(
    database: Database,
) -> None:
    await database.write(insert(1))

    def limit(pages: str) -> Callable[[Connection], None]:
        def write(connection: Connection) -> None:
            connection.execute(text(f"PRAGMA max_page_count = {pages}"))

        return write

    def fill(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE big (x BLOB)"))
        connection.execute(text("INSERT INTO big VALUES (zeroblob(10000000))"))

    used = await database.read(lambda c: c.execute(text("PRAGMA page_count")).scalar_one())
    await database.write(limit(str(used + 10)))
    results: Any = await asyncio.gather(
        database.write(insert(2)),
        database.write(fill),
        database.write(insert(3)),
        return_exceptions=True,
    )

    assert isinstance(results[1], DiskFull)
    assert "free some space" in str(results[1])
    assert (results[0], results[2]) == (2, 3)
    await database.write(limit("1073741823"))
    await database.write(fill)
    found = await database.read(lambda c: list(c.execute(select(NUMBERS.c.n)).scalars()))
    assert sorted(found) == [1, 2, 3]


async def test_a_lost_connection_costs_one_write_alone(database: Database) -> None:
    """What a server's database does at any moment: SQLAlchemy's own errors come of it then."""
    held = threading.Event()

    def lose(connection: Connection) -> None:
        connection.invalidate()

    writes: list[Callable[[Connection], Any]] = [
        lambda _connection: held.wait(30),
        insert(1),
        lose,
        insert(2),
    ]
    results: Any = asyncio.gather(
        *(database.write(write) for write in writes), return_exceptions=True
    )
    await asyncio.sleep(0)  # now all of them wait in line; those behind the first share a commit
    held.set()

    async with asyncio.timeout(30):
        _, one, lost, two = await results
        assert (one, two) == (1, 2)
        assert isinstance(lost, SQLAlchemyError)
        found = await database.read(lambda c: list(c.execute(select(NUMBERS.c.n)).scalars()))
        assert sorted(found) == [1, 2]
        assert await database.write(insert(3)) == 3


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import asyncio, itertools, sys
        from sqlalchemy import Column, Integer, MetaData, Table
        from bessemer.database.database import Database
        from bessemer.pipelines import tables
        numbers = Table("numbers", MetaData(), Column("n", Integer, primary_key=True))
        async def main():
            database = Database(sys.argv[1])
            await database.start()
            await database.write(numbers.create)
            for n in itertools.count():
                await database.write(lambda c: c.execute(numbers.insert().values(n=n)) and None)
                print(n, flush=True)
        asyncio.run(main())
    """)
    url = f"sqlite:///{tmp_path}/history.db"
    process = subprocess.Popen(
        [sys.executable, "-c", program, url], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    last = -1
    for line in process.stdout:
        last = int(line)
        if last == 50:
            process.kill()
    process.wait()
    process.stdout.close()

    engine = create_engine(url)
    with engine.connect() as connection:
        stored = connection.execute(select(func.max(NUMBERS.c.n))).scalar_one()
    engine.dispose()
    assert stored >= last >= 50


async def test_a_database_that_is_not_started_says_so(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/history.db")

    with pytest.raises(DatabaseError, match="must be started"):
        await database.read(count)
    await database.close()


async def test_a_folder_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/none/history.db")

    with pytest.raises(DatabaseError, match="folder must exist"):
        await database.start()
    await database.close()


def test_memory_databases_are_refused() -> None:
    with pytest.raises(DatabaseError, match="must be a file"):
        Database("sqlite://")


async def test_a_write_is_on_the_disk_before_it_is_told(database: Database) -> None:
    def settings(connection: Connection) -> tuple[int, str]:
        said = [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names]
        return said[0], said[1]

    names = ("synchronous", "journal_mode")  # of the connection that writes
    assert await database.write(settings) == (2, "wal")  # FULL


async def test_a_large_value_is_let_go_of_after_its_transaction(tmp_path: Path) -> None:
    """SQLite's prepared statements keep what they were last bound to."""
    database = Database(f"sqlite:///{tmp_path}/history.db")
    await database.start()
    large = "x" * 4_000_000

    def write(number: int) -> Callable[[Connection], Any]:
        # Each a statement of its own.
        return lambda connection: connection.exec_driver_sql(
            f"SELECT length(?) AS n{number}", (large,)
        ).scalar_one()

    try:
        await database.write(write(100))
        before = psutil.Process().memory_info().rss
        for number in range(20):
            assert await database.write(write(number)) == len(large)
        assert psutil.Process().memory_info().rss - before < 10 * len(large)
    finally:
        await database.close()
