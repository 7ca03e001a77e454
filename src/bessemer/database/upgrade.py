"""Upgrading an older database by Alembic's chain of migrations."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

FOLDER = Path(__file__).parent / "migrations"


def scripts() -> ScriptDirectory:
    """The chain of migrations."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def upgrade(connection: Connection, to: str = "head") -> None:
    """Run each migration up to that one that the database has not seen.

    All within the caller's transaction.
    """
    chain = scripts()

    def steps(revision: Any, _context: MigrationContext) -> Iterable[Any]:
        # Alembic's own documented recipe for running migrations without its command line.
        return chain._upgrade_revs(to, revision)

    context = MigrationContext.configure(connection, opts={"fn": steps, "transactional_ddl": True})
    with Operations.context(context):
        context.run_migrations()
