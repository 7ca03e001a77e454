"""Models of tables, of several outputs and of probabilities; content types; callers who leave."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import modelserver_world
from modelserver_world import ROOT, Server

PROBA = {"PREDICT_PROBA": "true"}


@pytest.fixture(scope="module")
def python() -> Path:
    return modelserver_world.make_environment()


@pytest.fixture(scope="module")
def models(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    subprocess.run([python, ROOT / "tests" / "make_models.py", folder], check=True)
    return folder


@pytest.fixture(scope="module")
def expected(models: Path) -> Any:
    return json.loads((models / "expected.json").read_text())


@pytest.fixture(scope="module")
def table(python: Path, models: Path) -> Iterator[Server]:
    log = models / "table.log"
    with modelserver_world.serve(python, models / "table.joblib", "sklearn", log) as server:
        yield server


def columns(rows: list[Any], shape: list[int] | None = None) -> list[dict[str, Any]]:
    datatypes = {"age": "FP64", "city": "BYTES", "plan": "BYTES", "active": "BOOL"}
    return [
        {
            "name": name,
            "datatype": datatype,
            "shape": shape or [len(rows)],
            "data": [row[name] for row in rows],
        }
        for name, datatype in datatypes.items()
    ]


def predict(server: Server, instances: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/models/m:predict", json={"instances": instances})


def infer(server: Server, *inputs: dict[str, Any], **call: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/v2/models/m/infer", json={"inputs": [*inputs], **call})


def test_v1_takes_objects_rows_and_frames_of_one_row(table: Server, expected: Any) -> None:
    rows, told = expected["table"]["rows"], expected["table"]["by_name"]

    for instances in (rows, [list(row.values()) for row in rows], [[row] for row in rows]):
        answer = predict(table, instances)
        assert (answer.status_code, answer.json()) == (200, {"predictions": told}), answer.text


@pytest.mark.parametrize("kind", [None, "pd"])
@pytest.mark.parametrize("text", [None, "str"])
def test_v2_takes_a_column_an_input(
    table: Server, expected: Any, kind: str | None, text: str | None
) -> None:
    rows, told = expected["table"]["rows"][1:3], expected["table"]["by_name"][1:3]
    parameters = {"parameters": {"content_type": kind}} if kind else {}

    for shape in ([2], [2, 1]):
        inputs = columns(rows, shape)
        for entry in inputs:
            if text and entry["datatype"] == "BYTES":
                entry["parameters"] = {"content_type": text}
        answer = infer(table, *reversed(inputs), **parameters)
        assert answer.status_code == 200, answer.text
        assert answer.json()["outputs"][0]["data"] == told


def test_a_tables_metadata_names_its_columns(table: Server) -> None:
    about = httpx.get(f"{table.url}/v2/models/m").json()

    assert [(one["name"], one["datatype"], one["shape"]) for one in about["inputs"]] == [
        ("age", "FP64", [-1]), ("city", "BYTES", [-1]),
        ("plan", "BYTES", [-1]), ("active", "FP64", [-1]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"age": 1, "city": "Oslo", "plan": "pro"}, "active"),
        ({"age": 1, "city": "Oslo", "plan": "pro", "active": True, "more": 1}, "more"),
        ({"age": "old", "city": "Oslo", "plan": "pro", "active": True}, "refuses"),
        ({"age": [1], "city": "Oslo", "plan": "pro", "active": True}, "'age'"),
        ({"age": 2**63, "city": "Oslo", "plan": "pro", "active": True}, "64 bits"),
        ([1, "Oslo", "pro"], "active"),
        ("Oslo", "features"),
    ],
)
def test_what_is_no_row_of_the_table_is_refused(table: Server, row: Any, words: str) -> None:
    answer = predict(table, [row])

    assert answer.status_code == 400, answer.text
    assert words in answer.json()["error"]


def test_a_column_of_numbers_and_texts_is_refused(table: Server, expected: Any) -> None:
    rows = expected["table"]["rows"]

    answer = predict(table, [{**rows[1], "city": 7}, rows[2]])
    empty = predict(table, [])

    assert (answer.status_code, "'city'" in answer.json()["error"]) == (400, True)
    assert (empty.status_code, "at least one row" in empty.json()["error"]) == (400, True)


def test_columns_chosen_by_a_selector(
    python: Path, models: Path, expected: Any, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with modelserver_world.serve(python, models / "selected.joblib", "sklearn", log) as server:
        answer = predict(server, expected["table"]["rows"])

    assert answer.json() == {"predictions": expected["table"]["by_type"]}


def test_a_model_that_was_only_fitted_on_a_table_takes_arrays(
    python: Path, models: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with modelserver_world.serve(python, models / "plain.joblib", "sklearn", log) as server:
        about = httpx.get(f"{server.url}/v2/models/m").json()
        answer = predict(server, [[5.1, 3.5, 1.4, 0.2]])

    assert about["inputs"] == [{"name": "input-0", "datatype": "FP64", "shape": [-1, 4]}]
    assert answer.json() == {"predictions": [0]}


def test_probabilities_of_several_outputs(
    python: Path, models: Path, expected: Any, tmp_path: Path
) -> None:
    told, log = expected["outputs"], tmp_path / "log"
    rows = json.loads((models / "expected.json").read_text())["logistic.joblib"]["rows"][:3]
    tensor = {"name": "x", "shape": [3, 4], "datatype": "FP64", "data": rows}
    model = models / "outputs.joblib"
    with modelserver_world.serve(python, model, "sklearn", log, env=PROBA) as server:
        about = httpx.get(f"{server.url}/v2/models/m").json()
        v1 = predict(server, rows).json()["predictions"]
        outputs = infer(server, tensor).json()["outputs"]
        second = infer(server, tensor, outputs=[{"name": "output-1"}]).json()["outputs"]

    assert v1 == [[first, other] for first, other in zip(*told, strict=True)]
    assert [one["shape"] for one in about["outputs"]] == [[-1, 3], [-1, 2]]
    assert [one["data"] for one in outputs] == [
        [value for row in each for value in row] for each in told
    ]
    assert second == [outputs[1]]


@pytest.mark.parametrize("name", ["boosted.pkl", "booster.ubj"])
def test_probabilities_of_boosters(
    python: Path, models: Path, expected: Any, tmp_path: Path, name: str
) -> None:
    rows, log = expected["booster.ubj"]["rows"][:3], tmp_path / "log"
    with modelserver_world.serve(python, models / name, "xgboost", log, env=PROBA) as server:
        about = httpx.get(f"{server.url}/v2/models/m").json()
        answer = predict(server, rows).json()["predictions"]

    assert about["outputs"] == [{"name": "output-0", "datatype": "FP32", "shape": [-1, 2]}]
    for got, told in zip(answer, expected["boosted proba"], strict=True):
        assert got == pytest.approx(told, rel=1e-5)


def test_a_booster_that_knows_no_probabilities_says_so(
    python: Path, models: Path, tmp_path: Path
) -> None:
    told, log = tmp_path / "termination", tmp_path / "log"
    argv = modelserver_world.command(python, models / "hard.ubj", "xgboost", 0)
    ended = subprocess.run(
        [*argv, "--termination_path", told], env={**modelserver_world.environment(), **PROBA},
        capture_output=True, check=False,
    )  # fmt: skip
    with modelserver_world.serve(python, models / "soft.ubj", "xgboost", log, env=PROBA) as server:
        (row,) = predict(server, [[5, 3, 1, 0]]).json()["predictions"]

    assert ended.returncode == 1
    assert "multi:softmax" in told.read_text()
    assert sum(row) == pytest.approx(1)


@pytest.mark.parametrize("value", [1e39, -1e39, 3.5e38])
def test_what_a_booster_would_take_for_infinity_is_refused(
    python: Path, models: Path, tmp_path: Path, value: float
) -> None:
    log = tmp_path / "log"
    with modelserver_world.serve(python, models / "soft.ubj", "xgboost", log) as server:
        answer = predict(server, [[value, 3, 1, 0]])
        gap = predict(server, [[None, 3, 1, 0]])

    assert (answer.status_code, "out of its range" in answer.json()["error"]) == (400, True)
    assert gap.status_code == 200


def test_base64_is_decoded_and_other_content_types_are_refused(
    python: Path, models: Path, tmp_path: Path
) -> None:
    def text(value: str, kind: str) -> dict[str, Any]:
        entry = {"name": "x", "shape": [1], "datatype": "BYTES", "data": [value]}
        return {**entry, "parameters": {"content_type": kind}}

    good = base64.b64encode(b"good day").decode()
    log = tmp_path / "log"
    with modelserver_world.serve(python, models / "text.joblib", "sklearn", log) as server:
        decoded = infer(server, text(good, "base64"))
        of_all = {"parameters": {"content_type": "base64"}}
        bare = {"name": "x", "shape": [1], "datatype": "BYTES", "data": [good]}
        by_request = infer(server, bare, **of_all)
        wrong = [
            infer(server, text("not base64!", "base64")),
            infer(server, text(base64.b64encode(b"\xff").decode(), "base64")),
            infer(server, text(good, "datetime")),
            infer(server, text(good, "base64") | {"datatype": "FP64", "data": [1]}),
        ]

    assert [answer.json()["outputs"][0]["data"] for answer in (decoded, by_request)] == [[1], [1]]
    assert [answer.status_code for answer in wrong] == [400] * 4
    assert all("content_type" in answer.json()["error"] for answer in wrong)


@pytest.mark.parametrize("name", ["foreign.pkl", "foreign.joblib"])
def test_a_pickle_that_another_version_must_read_names_the_cure_first(
    python: Path, models: Path, tmp_path: Path, name: str
) -> None:
    told = tmp_path / "termination"
    argv = modelserver_world.command(python, models / name, "sklearn", 0)
    ended = subprocess.run(
        [*argv, "--termination_path", told], env=modelserver_world.environment(),
        capture_output=True, check=False,
    )  # fmt: skip

    text = told.read_text()
    assert ended.returncode == 1
    assert "runtimeVersion to '1.3.2'" in text
    assert text.index("runtimeVersion") < text.index("ValueError")
    assert len(text) < 1000


async def test_callers_who_gave_up_do_not_hold_the_next_one(
    python: Path, models: Path, tmp_path: Path
) -> None:
    """The model counts its calls: those of callers who left are not among them."""
    path = tmp_path / "src"
    path.mkdir()
    counting = f"open({str(tmp_path / 'calls')!r}, 'a').write('x'); time.sleep(0.3)"
    text = (models / "broken_model.py").read_text()
    (path / "broken_model.py").write_text(text.replace("time.sleep(0.1)", counting))
    model, log = models / "slow.joblib", tmp_path / "log"
    call = json.dumps({"instances": [[1, 2, 3, 4]]}).encode()
    head = f"POST /v1/models/m:predict HTTP/1.1\r\nHost: m\r\nContent-Length: {len(call)}\r\n\r\n"
    with modelserver_world.serve(python, model, "sklearn", log, path=path) as server:
        predict(server, [[1, 2, 3, 4]])  # shows it to be slow
        address = httpx.URL(server.url)
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            running = asyncio.create_task(
                client.post("/v1/models/m:predict", json={"instances": [[1, 2, 3, 4]]})
            )
            left = []
            while len((tmp_path / "calls").read_text()) < 2:  # noqa: ASYNC110 - a file tells nobody
                await asyncio.sleep(0)
            for _ in range(5):
                leaver = socket.create_connection((address.host, address.port))
                leaver.sendall(head.encode() + call)
                left.append(leaver)
            # Answered after those five were read, for it came later on a connection of its own.
            assert (await client.get("/v2/health/live")).status_code == 200
            for leaver in left:
                leaver.close()
            answers = [
                await running,
                await client.post("/v1/models/m:predict", json={"instances": [[1, 2, 3, 4]]}),
            ]

    assert [answer.json() for answer in answers] == [{"predictions": [1.0]}] * 2
    assert len((tmp_path / "calls").read_text()) == 3
