"""Stored IRs: read once, shared, and answered as the text that is stored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from sqlalchemy import Connection, create_engine, event

from bessemer.pipelines.spec_cache import Irs, as_json
from bessemer.pipelines.tables import SPECS

MANY = [f"ir-{number}" for number in range(20)]


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = create_engine(f"sqlite:///{tmp_path / 'irs.db'}")
    SPECS.create(engine)
    with engine.begin() as connection:
        for number, id_ in enumerate(MANY):
            spec = {"number": number, "text": "ß"}
            connection.execute(SPECS.insert().values(id=id_, spec=spec, platform_spec={}))
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.fixture
def statements(connection: Connection) -> list[str]:
    seen: list[str] = []

    @event.listens_for(connection.engine, "before_cursor_execute")
    def note(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    return seen


def test_an_ir_in_use_is_read_once(connection: Connection, statements: list[str]) -> None:
    irs = Irs()
    first = irs.find(connection, ["ir-3"])
    again = irs.find(connection, ["ir-3"])

    assert first["ir-3"]["spec"] == {"number": 3, "text": "ß"}
    assert again["ir-3"] is first["ir-3"]
    assert len(statements) == 1


def test_the_answer_is_the_stored_text(connection: Connection) -> None:
    found = Irs().find(connection, ["ir-4"])["ir-4"]

    answer = orjson.dumps({"spec": as_json(found["spec"]), "plain": as_json({"a": 1})})
    assert orjson.loads(answer) == {"spec": {"number": 4, "text": "ß"}, "plain": {"a": 1}}


def test_more_than_are_kept_are_all_found(connection: Connection, statements: list[str]) -> None:
    irs = Irs()

    for _ in range(2):
        found = irs.find(connection, MANY)
        assert [found[id_]["spec"]["number"] for id_ in MANY] == list(range(20))
    assert len(statements) == 2
    irs.find(connection, ["ir-0"])
    assert len(statements) <= 3


def test_an_unknown_one_is_not_there(connection: Connection) -> None:
    assert Irs().find(connection, ["nosuch"]) == {}


def test_irs_that_stay_parsed_have_few_bytes_together(
    connection: Connection, statements: list[str]
) -> None:
    large = {"text": "x" * 1_500_000}
    for id_ in ("large-1", "large-2"):
        connection.execute(SPECS.insert().values(id=id_, spec=large, platform_spec={}))
    irs = Irs()
    for id_ in ("large-1", "large-2"):
        irs.find(connection, [id_])
    statements.clear()
    irs.find(connection, ["large-2"])
    assert not statements
    irs.find(connection, ["large-1"])
    assert len(statements) == 1
