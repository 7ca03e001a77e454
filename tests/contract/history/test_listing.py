"""Pages, filters and names come out of each database alike."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from bessemer.database.database import Database
from bessemer.pipelines import catalog, listing
from bessemer.pipelines.catalog import Catalog, Experiment, Pipeline, Version
from bessemer.pipelines.history import SqlHistory
from bessemer.pipelines.records import RunState
from bessemer.pipelines.run_catalog import RUN_FIELDS, RunCatalog
from bessemer.web.errors import AlreadyExists, FailedPrecondition

from .conftest import NOW, make_run

NAMES = ["b", "B", "a", "Aé", "aé", "Z", "_", "a b", "ab", "100%", "😀", "1", "10", "2", "-", "ß"]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    await database.start()
    yield database
    await database.close()


@pytest.fixture
async def runs(database: Database) -> RunCatalog:
    runs = RunCatalog(SqlHistory(database))
    for number, name in enumerate(NAMES):
        created = NOW + timedelta(seconds=number // 3)
        ended = {"finished_at": created, "state": RunState.FAILED} if number % 2 else {}
        run = make_run(f"r{number:02}", display_name=name, created_at=created, **ended)
        await runs.create_run(run)
    return runs


async def names(runs: RunCatalog, **params: Any) -> list[str]:
    """The names on all pages."""
    found, token = [], ""
    while True:
        query = listing.parse({"page_size": "3", **params, "page_token": token}, RUN_FIELDS)
        page = await runs.list_runs(query, "kubeflow")
        found += [run.display_name for run in page.runs]
        token = page.next_token
        if not token:
            return found


def where(operation: str, key: str, value: str) -> str:
    predicate = {"operation": operation, "key": key, "string_value": value}
    return json.dumps({"predicates": [predicate]})


async def test_every_sort_order_pages_through_all(runs: RunCatalog) -> None:
    by_name = sorted(NAMES, key=str.encode)
    assert await names(runs, sort_by="name") == by_name
    assert await names(runs, sort_by="name desc") == by_name[::-1]
    for field in RUN_FIELDS.columns:
        forwards = await names(runs, sort_by=field)
        assert sorted(forwards) == sorted(NAMES)
        assert await names(runs, sort_by=f"{field} desc") == forwards[::-1]


@pytest.mark.parametrize(
    ("operation", "value", "wanted"),
    [
        ("EQUALS", "b", ["b"]),
        ("NOT_EQUALS", "b", [name for name in NAMES if name != "b"]),
        ("GREATER_THAN", "a", [name for name in NAMES if name.encode() > b"a"]),
        ("IS_SUBSTRING", "B", ["b", "B", "a b", "ab"]),
        ("IS_SUBSTRING", "%", ["100%"]),
        ("IS_SUBSTRING", "_", ["_"]),
    ],
)
async def test_filters(runs: RunCatalog, operation: str, value: str, wanted: list[str]) -> None:
    assert sorted(await names(runs, filter=where(operation, "name", value))) == sorted(wanted)


async def test_experiments_pipelines_versions_and_tags(database: Database) -> None:
    kept = Catalog(database)
    experiment = Experiment("e1", "kubeflow", "first", created_at=NOW)
    await kept.create_experiment(experiment)
    with pytest.raises(AlreadyExists):
        await kept.create_experiment(Experiment("e2", "kubeflow", "first", created_at=NOW))
    assert await kept.get_experiment("e1") == experiment
    pipeline = Pipeline("p1", "kubeflow", "adder", "Adder", created_at=NOW, tags={"team": "a"})
    version = Version("v1", "p1", "one", "One", {"x": 1}, {}, created_at=NOW, tags={"k": "v"})
    await kept.create_pipeline(pipeline)
    await kept.create_version(version)
    with pytest.raises(AlreadyExists):
        await kept.create_version(Version("v2", "p1", "one", "", {"x": 2}, {}, created_at=NOW))

    assert await kept.get_pipeline("p1") == pipeline
    assert await kept.get_version("p1") == version
    tagged = {"filter": where("EQUALS", "tags.team", "a")}
    query = listing.parse(tagged, catalog.PIPELINE_FIELDS)
    assert await kept.list_pipelines(query, "kubeflow") == ([pipeline], 1, "")
    with pytest.raises(FailedPrecondition, match="has 1"):
        await kept.delete_pipeline("p1", cascade=False)
    await kept.delete_pipeline("p1", cascade=True)
    assert await kept.list_pipelines(query, "kubeflow") == ([], 0, "")
