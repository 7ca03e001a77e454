"""``records.History`` over each database that it may be kept in goes through these laws."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from bessemer.database.database import Database
from bessemer.pipelines.history import SqlHistory
from bessemer.pipelines.records import History, Run, RunState
from bessemer.pipelines.retrying import Reset
from bessemer.pipelines.run_catalog import RunCatalog

NOW = datetime(2026, 11, 23, 18, 40, 1, 123456, UTC)


def make_run(id_: str, **fields: object) -> Run:
    values: dict[str, object] = {
        "namespace": "kubeflow",
        "display_name": f"run {id_}",
        "spec": {"pipelineInfo": {"name": "adder"}},
        "platform_spec": {},
        "parameters": {"a": 1, "b": [1.5, None, "x"]},
        "state": RunState.PENDING,
        "created_at": NOW,
        **fields,
    }
    return Run(id=id_, **values)  # type: ignore[arg-type]  # test data


@dataclass
class World:
    """A history, the REST face's part in it, and a way to lose everything not yet durable."""

    history: History
    create: Callable[[Run], Awaitable[None]]
    terminate: Callable[[str], Awaitable[None]]
    retry: Callable[[Run, Reset], Awaitable[None]]
    delete: Callable[[str], Awaitable[None]]
    reopen: Callable[[], Awaitable[History]]


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    opened: list[Database] = []

    async def open_history() -> SqlHistory:
        database = Database(database_url)
        await database.start()
        opened.append(database)
        return SqlHistory(database)

    history = await open_history()
    runs = RunCatalog(history)
    yield World(
        history,
        runs.create_run,
        lambda run_id: runs.terminate_run(run_id, NOW),
        lambda run, reset: runs.retry_run(run, reset, NOW),
        runs.delete_run,
        open_history,
    )
    for database in opened:
        await database.close()
