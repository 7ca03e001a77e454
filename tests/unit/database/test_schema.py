import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect, text

from bessemer.database import schema, upgrade
from bessemer.database.database import Database
from bessemer.database.errors import DatabaseError, NewerDatabase
from bessemer.database.migrations import HEAD, REVISIONS, TABLES
from bessemer.database.tables import METADATA
from bessemer.pipelines import tables


def test_the_list_of_revisions_is_the_chain() -> None:
    chain = [script.revision for script in upgrade.scripts().walk_revisions()]

    assert chain[::-1] == list(REVISIONS)
    assert upgrade.scripts().get_current_head() == HEAD
    assert tables.RUNS.metadata.tables.keys() == TABLES


def test_migrations_and_declarations_make_the_same_database(tmp_path: Path) -> None:
    made = create_engine(f"sqlite:///{tmp_path}/made.db")
    migrated = create_engine(f"sqlite:///{tmp_path}/migrated.db")
    schema.prepare(made)
    with migrated.begin() as connection:
        upgrade.upgrade(connection)

    with migrated.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
        assert schema.current_revision(connection) == HEAD
    for name in TABLES:
        assert indexes(made, name) == indexes(migrated, name)
    made.dispose()
    migrated.dispose()


def indexes(engine: Engine, table: str) -> list[Any]:
    return sorted(
        (str(index["name"]), index["column_names"]) for index in inspect(engine).get_indexes(table)
    )


async def test_a_newer_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/history.db"
    database = Database(url)
    await database.start()
    await database.write(
        lambda connection: (
            connection.execute(text("UPDATE alembic_version SET version_num='9999'")) and None
        )
    )
    await database.close()

    newer = Database(url)
    with pytest.raises(NewerDatabase, match=r"up to revision 0001, but found 9999"):
        await newer.start()
    await newer.close()

    engine = create_engine(url)
    with engine.connect() as connection:
        assert schema.current_revision(connection) == "9999"
    engine.dispose()


async def test_starting_twice_changes_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/history.db"
    for _ in range(2):
        database = Database(url)
        await database.start()
        found = await database.read(lambda c: set(inspect(c).get_table_names()))
        await database.close()

        assert found == TABLES | {"alembic_version"}


@pytest.fixture
def next_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes this program the next one, which has one more migration."""

    def become(statements: str) -> None:
        folder = tmp_path / "migrations"
        shutil.copytree(upgrade.FOLDER, folder, dirs_exist_ok=True)
        body = "\n    ".join(statements.splitlines())
        (folder / "versions" / "next.py").write_text(
            "import sqlalchemy as sa\nfrom alembic import op\n"
            f"revision, down_revision = 'next', {HEAD!r}\n"
            f"def upgrade():\n    {body}\n"
        )
        monkeypatch.setattr(upgrade, "FOLDER", folder)
        monkeypatch.setattr(schema, "REVISIONS", (*REVISIONS, "next"))
        monkeypatch.setattr(schema, "HEAD", "next")

    return become


async def make_older(url: str) -> None:
    """A database of this program, with a row."""
    database = Database(url)
    await database.start()
    await database.write(
        lambda c: c.execute(text("INSERT INTO tags VALUES ('o', 'k', 'v')")) and 0
    )
    await database.close()


MORE = "op.create_table('more', sa.Column('id', sa.String(64), primary_key=True))"


async def test_an_older_database_is_upgraded_and_keeps_its_rows(
    tmp_path: Path, next_program: Callable[[str], None]
) -> None:
    url = f"sqlite:///{tmp_path}/history.db"
    await make_older(url)
    next_program(MORE)

    for _ in range(2):
        database = Database(url)
        await database.start()
        names = await database.read(lambda c: set(inspect(c).get_table_names()))
        kept = await database.read(
            lambda c: c.execute(text("SELECT value FROM tags")).scalar_one()
        )
        revision = await database.read(schema.current_revision)
        await database.close()

        assert names == TABLES | {"alembic_version", "more"}
        assert (kept, revision) == ("v", "next")


async def test_an_upgrade_that_fails_leaves_the_database_as_it_was(
    tmp_path: Path, next_program: Callable[[str], None]
) -> None:
    url = f"sqlite:///{tmp_path}/history.db"
    await make_older(url)
    next_program(f"{MORE}\nop.execute('DELETE FROM tags')\nop.execute('nonsense')")

    database = Database(url)
    with pytest.raises(DatabaseError, match="nonsense"):
        await database.start()
    await database.close()

    engine = create_engine(url)
    with engine.connect() as connection:
        assert schema.current_revision(connection) == HEAD
        assert set(inspect(connection).get_table_names()) == TABLES | {"alembic_version"}
        assert connection.execute(text("SELECT value FROM tags")).scalar_one() == "v"
    engine.dispose()
