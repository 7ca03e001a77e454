import asyncio
import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from bessemer.database.database import Database
from bessemer.pipelines import listing
from bessemer.pipelines.errors import InvalidArgument
from bessemer.pipelines.history import RUN_FIELDS, SqlHistory
from bessemer.pipelines.records import Run, RunState

NOW = datetime(2026, 11, 23, 18, 0, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with 25 runs, which the tests only read.

    Names run-00… in groups of five equal creation times; every third failed.
    """
    file = tmp_path_factory.mktemp("listing") / "history.db"
    asyncio.run(fill(file))
    return file


async def fill(file: Path) -> None:
    database = Database(f"sqlite:///{file}")
    await database.start()
    history = SqlHistory(database)
    for number in range(25):
        await history.create_run(
            Run(
                id=f"id-{(number * 7) % 25:02d}",
                namespace="kubeflow" if number else "team-b",
                display_name=f"run-{number:02d}",
                spec={},
                platform_spec={},
                parameters={},
                state=RunState.RUNNING if number % 3 else RunState.FAILED,
                created_at=NOW + timedelta(seconds=number // 5),
                description="100% _sure_" if number == 3 else "",
                experiment_id=f"e{number % 2}",
            )
        )
    await database.close()


@pytest.fixture
async def history(filled: Path) -> AsyncIterator[SqlHistory]:
    database = Database(f"sqlite:///{filled}")
    await database.start()
    yield SqlHistory(database)
    await database.close()


async def names(history: SqlHistory, experiment: str = "", **params: Any) -> list[str]:
    """The names on all pages."""
    found, token = [], ""
    while True:
        query = listing.parse({**params, "page_token": token}, RUN_FIELDS)
        page = await history.list_runs(query, "kubeflow", experiment)
        assert len(page.runs) <= query.size
        found += [run.display_name for run in page.runs]
        token = page.next_token
        if not token:
            assert page.total == len(found)
            return found


def where(key: str, operation: object, **value: object) -> str:
    return json.dumps({"predicates": [{"key": key, "operation": operation, **value}]})


ALL = [f"run-{number:02d}" for number in range(1, 25)]


@pytest.mark.parametrize("size", ["1", "4", "24", "200", "0", ""])
@pytest.mark.parametrize("sort", ["display_name", "name asc", "NAME ASC", "Display_Name"])
async def test_pages_hold_each_run_once_in_order(
    history: SqlHistory, size: str, sort: str
) -> None:
    assert await names(history, page_size=size, sort_by=sort) == ALL


@pytest.mark.parametrize("sort", sorted(RUN_FIELDS.columns))
@pytest.mark.parametrize("direction", ["asc", "desc"])
async def test_every_sort_field_pages_without_gap_or_double(
    history: SqlHistory, sort: str, direction: str
) -> None:
    found = await names(history, page_size="5", sort_by=f"{sort} {direction}")

    assert sorted(found) == ALL
    whole = await names(history, page_size="200", sort_by=f"{sort} {direction}")
    assert found == whole


async def test_newest_first(history: SqlHistory) -> None:
    found = await names(history, page_size="7", sort_by="created_at desc")

    groups = [int(name[-2:]) // 5 for name in found]
    assert groups == sorted(groups, reverse=True)


@pytest.mark.parametrize(
    ("filter_", "wanted"),
    [
        (where("display_name", 1, stringValue="run-07"), ["run-07"]),
        (where("name", "EQUALS", string_value="run-07"), ["run-07"]),
        (where("name", "NOT_EQUALS", string_value="run-07"), [n for n in ALL if n != "run-07"]),
        (where("name", 9, string_value="N-1"), [f"run-1{n}" for n in range(10)]),
        (where("name", "IN", string_values={"values": ["run-02", "x"]}), ["run-02"]),
        (where("name", 8, stringValues={"values": ["run-02", "run-03"]}), ["run-02", "run-03"]),
        (where("state", "EQUALS", string_value="FAILED"), ALL[2::3]),
        (where("description", "IS_SUBSTRING", string_value="0% _s"), ["run-03"]),
        (where("description", "IS_SUBSTRING", string_value="0%x"), []),
        (where("created_at", "LESS_THAN", timestamp_value="2026-11-23T18:00:01Z"), ALL[:4]),
        (where("created_at", 5, timestampValue="2026-11-23T18:00:04Z"), ALL[19:]),
        (where("created_at", 7, string_value="2026-11-23T18:00:00Z"), ALL[:4]),
        (where("name", 3, string_value="run-23"), ["run-24"]),
        ('{"predicates": []}', ALL),
        ("{}", ALL),
        (quote(where("name", 1, string_value="run-07")), ["run-07"]),
    ],
)
async def test_filters(history: SqlHistory, filter_: str, wanted: list[str]) -> None:
    assert await names(history, filter=filter_, sort_by="name", page_size="3") == wanted


async def test_predicates_are_all_to_be_fulfilled(history: SqlHistory) -> None:
    predicates = [
        {"key": "name", "operation": 9, "string_value": "run-1"},
        {"key": "status", "operation": 1, "string_value": "FAILED"},
    ]

    found = await names(history, filter=json.dumps({"predicates": predicates}), sort_by="name")

    assert found == ["run-12", "run-15", "run-18"]


async def test_one_experiment_of_one_namespace(history: SqlHistory) -> None:
    assert await names(history, "e0", sort_by="name") == ALL[1::2]


async def test_a_token_brings_its_own_sort_and_filter(history: SqlHistory) -> None:
    first = listing.parse({"page_size": "2", "sort_by": "name desc"}, RUN_FIELDS)
    token = (await history.list_runs(first, "kubeflow")).next_token

    query = listing.parse({"page_size": "2", "page_token": token}, RUN_FIELDS)
    page = await history.list_runs(query, "kubeflow")

    assert [run.display_name for run in page.runs] == ["run-22", "run-21"]
    for changed in ({"sort_by": "name"}, {"filter": where("name", 1, string_value="x")}):
        with pytest.raises(InvalidArgument, match="from page to page"):
            listing.parse({"page_token": token, **changed}, RUN_FIELDS)


@pytest.mark.parametrize(
    ("sort", "value"),
    [
        ("created_at", "2026"),
        ("created_at", 2**63),
        ("created_at", True),
        ("display_name", 7),
        ("no_such", "x"),
    ],
)
def test_a_token_that_no_listing_gave_is_refused(sort: str, value: object) -> None:
    cursor = {"sort": f"{sort} False", "filter": "", "value": value, "id": "x"}
    token = base64.b64encode(json.dumps(cursor).encode()).decode()

    with pytest.raises(InvalidArgument, match="page_token"):
        listing.parse({"page_token": token}, RUN_FIELDS)


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"page_size": "-1"}, "page_size"),
        ({"page_size": "many"}, "page_size"),
        ({"page_token": "x"}, "page_token"),
        ({"page_token": base64.b64encode(b'"x"').decode()}, "page_token"),
        (
            {
                "page_token": base64.b64encode(
                    b'{"sort":"spec_id False","filter":"","value":"","id":""}'
                ).decode()
            },
            "page_token",
        ),
        ({"sort_by": "colour"}, "colour"),
        ({"sort_by": "name up"}, "name up"),
        ({"sort_by": "name asc asc"}, "asc"),
        ({"filter": "{"}, "JSON"),
        ({"filter": "[]"}, "JSON"),
        ({"filter": '{"predicate": []}'}, "predicates"),
        ({"filter": '{"predicates": ["x"]}'}, "'x'"),
        ({"filter": where("colour", 1, string_value="x")}, "colour"),
        ({"filter": where("name", 4, string_value="x")}, "operation"),
        ({"filter": where("name", 1.0, string_value="x")}, "operation"),
        ({"filter": where("name", "LIKE", string_value="x")}, "LIKE"),
        ({"filter": where("name", 1)}, "exactly one"),
        ({"filter": where("name", 1, string_value="x", int_value=1)}, "exactly one"),
        ({"filter": where("name", 1, int_value=1)}, "string_value"),
        ({"filter": where("name", 1, long_value="x")}, "long_value"),
        ({"filter": where("name", 1, string_values={"values": ["x"]})}, "list of values"),
        ({"filter": where("name", 8, string_value="x")}, "list of values"),
        ({"filter": where("name", 8, string_values={"values": "x"})}, "values"),
        ({"filter": where("created_at", 1, string_value="today")}, "timestamp_value"),
        ({"filter": where("created_at", 9, timestamp_value="2026-11-23T18:00:00Z")}, "text"),
        ({"filter": where("tags.a", 1, string_value="x")}, "tags.a"),
        ({"filter": where("name", 1, colour="x")}, "colour"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_name(params: dict[str, str], word: str) -> None:
    with pytest.raises(InvalidArgument, match=word):
        listing.parse(params, RUN_FIELDS)
