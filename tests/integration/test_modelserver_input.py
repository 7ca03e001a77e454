"""The model server and what may come to it: types, shapes, names, paths, sizes, bad company."""

import asyncio
import gzip
import http.client
import json
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import modelserver_world
from modelserver_world import ROOT, Server

LIMIT = 200_000
ROW = [5, 3, 1, 0]  # one that every datatype can hold
FORMATS = {
    "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q",
    "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q",
    "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip


@pytest.fixture(scope="module")
def python() -> Path:
    return modelserver_world.make_environment()


@pytest.fixture(scope="module")
def models(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    subprocess.run([python, ROOT / "tests" / "make_models.py", folder], check=True)
    return folder


@pytest.fixture(scope="module")
def iris(python: Path, models: Path) -> Iterator[Server]:
    model, log = models / "logistic.joblib", models / "iris.log"
    flags = (f"--max_body_bytes={LIMIT}",)
    with modelserver_world.serve(python, model, "sklearn", log, flags=flags) as server:
        yield server


@pytest.fixture
def client(iris: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=iris.url) as client:
        yield client


def tensor(data: Any, datatype: str = "FP64", shape: list[int] | None = None) -> dict[str, Any]:
    return {"name": "x", "shape": shape or [1, 4], "datatype": datatype, "data": data}


def infer(client: httpx.Client, *inputs: dict[str, Any]) -> httpx.Response:
    return client.post("/v2/models/m/infer", json={"inputs": list(inputs)})


def infer_raw(client: httpx.Client, raw: bytes, datatype: str, shape: list[int]) -> httpx.Response:
    entry = tensor(None, datatype, shape)
    del entry["data"]
    entry["parameters"] = {"binary_data_size": len(raw)}
    head = json.dumps({"inputs": [entry]}).encode()
    length = {"Inference-Header-Content-Length": str(len(head))}
    return client.post("/v2/models/m/infer", content=head + raw, headers=length)


@pytest.mark.parametrize("datatype", FORMATS)
def test_every_datatype_in_json_and_binary(client: httpx.Client, datatype: str) -> None:
    raw = struct.pack(f"<4{FORMATS[datatype]}", *ROW)
    for answer in (infer(client, tensor(ROW, datatype)), infer_raw(client, raw, datatype, [1, 4])):
        assert answer.status_code == 200, answer.text
        assert answer.json()["outputs"][0]["data"] == [0]


def test_booleans_in_json_and_binary(client: httpx.Client) -> None:
    said = infer(client, tensor([True, False, True, False], "BOOL")).json()
    sent = infer_raw(client, b"\x01\x00\x01\x00", "BOOL", [1, 4]).json()
    assert said["outputs"] == sent["outputs"]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (tensor([1.5, 1, 1, 1], "INT64"), ["INT64", "1.5"]),
        (tensor([300, 1, 1, 1], "INT8"), ["INT8", "300", "range"]),
        (tensor([-1, 1, 1, 1], "UINT64"), ["UINT64", "-1", "range"]),
        (tensor([2**70, 1, 1, 1], "INT64"), ["INT64"]),
        (tensor([1e40, 1, 1, 1], "FP32"), ["FP32", "1e+40", "range"]),
        (tensor([1e6, 1, 1, 1], "FP16"), ["FP16", "1000000.0", "range"]),
        (tensor([1, "2", 3, 4], "FP32"), ["FP32", "'2'"]),
        (tensor([None, "2", 3, 4], "FP64"), ["FP64", "'2'"]),
        (tensor([True, True, True, True], "FP32"), ["FP32", "True"]),
        (tensor([1, 0, 1, 0], "BOOL"), ["BOOL", "1"]),
        (tensor([None, None, None, None], "BOOL"), ["BOOL", "None"]),
        (tensor([None, 1, 1, 1], "INT32"), ["INT32", "None"]),
        (tensor([{}, 1, 1, 1], "FP64"), ["FP64", "{}"]),
        (tensor([[1, 2], [3]], "FP64"), ["FP64"]),
        (tensor([1, 2, 3, 4], "FP64", [4]), ["[-1, 4]", "[4]"]),
        (tensor([1, 2, 3, 4], "FP64", [-1, 4]), ["shape", "[-1, 4]"]),
        (tensor([1, 2, 3, 4], "FP64", [True, 4]), ["shape"]),
        (tensor([1], "FP64", []), ["shape"]),
        (tensor([], "FP64", [0, 4]), ["at least one row"]),
        (tensor([], "FP64", [0, 2**62, 2**62]), ["shape"]),
        (tensor([1], "FP64", [1] * 65), ["shape"]),
        (tensor(["a"], "BYTES", [1] * 65), ["shape"]),
        (tensor("abcd", "BYTES"), ["list"]),
        (tensor([1, 2, 3, 4], "BYTES"), ["BYTES", "text"]),
        (tensor([[[["a"]]]], "BYTES"), ["deeper"]),
        (tensor([1, 2, 3, 4], "STRING"), ["STRING", "BYTES"]),
        (tensor([1, 2, 3, 4], None), ["datatype"]),  # type: ignore[arg-type]  # what a caller forgot
    ],
)
def test_values_of_another_type_or_shape_are_refused(
    client: httpx.Client, entry: dict[str, Any], words: list[str]
) -> None:
    answer = infer(client, entry)
    assert answer.status_code == 400, answer.text
    assert all(word in answer.json()["error"] for word in words), answer.text


def test_whole_floats_are_integers_and_null_is_nan(client: httpx.Client) -> None:
    assert infer(client, tensor([5.0, 3.0, 1.0, 0.0], "INT64")).status_code == 200
    assert "NaN" in infer(client, tensor([None, 3, 1, 0], "FP32")).json()["error"]


@pytest.mark.parametrize(
    ("raw", "datatype", "shape", "words"),
    [
        (b"\x02\x00\x01\x00", "BOOL", [1, 4], ["BOOL"]),
        (b"\x00" * 15, "FP32", [1, 4], ["multiple of 4", "15"]),
        (b"\x00" * 12, "FP32", [1, 4], ["4 values", "3"]),
        (b"\x05\x00\x00\x00ab", "BYTES", [1], ["length"]),
        (b"\x02\x00\x00\x00\xff\xfe", "BYTES", [1], ["UTF-8"]),
        (b"\xff\xff\xff\xff", "BYTES", [1], ["length"]),
    ],
)
def test_broken_raw_tensors_are_refused(
    client: httpx.Client, raw: bytes, datatype: str, shape: list[int], words: list[str]
) -> None:
    answer = infer_raw(client, raw, datatype, shape)
    assert answer.status_code == 400, answer.text
    assert all(word in answer.json()["error"] for word in words), answer.text


@pytest.mark.parametrize("shape", [[2**62], [2**62] * 40, [1] * 300, [2**30, 0]])
def test_shapes_beyond_all_data_are_refused(client: httpx.Client, shape: list[int]) -> None:
    for answer in (infer(client, tensor([], shape=shape)), infer_raw(client, b"", "FP64", shape)):
        assert answer.status_code == 400
        assert len(answer.content) < 5000


def test_a_body_packed_again_and_again_is_refused(client: httpx.Client) -> None:
    coding = {"Content-Encoding": ",".join(["gzip"] * 4)}
    answer = client.post("/v2/models/m/infer", content=b"x", headers=coding)
    assert answer.status_code == 400
    assert "may be encoded 3 times" in answer.text


@pytest.mark.parametrize("length", ["0", "-1", "abc", "999", "9" * 5000, "1.0"])
def test_a_wrong_length_of_the_json_part_is_refused(client: httpx.Client, length: str) -> None:
    head = json.dumps({"inputs": [tensor(ROW)]}).encode()
    headers = {"Inference-Header-Content-Length": length}
    answer = client.post("/v2/models/m/infer", content=head, headers=headers)
    assert (answer.status_code, "Content-Length" in answer.json()["error"]) == (400, True)


_WRITTEN = b'{"inputs": [{"name": "x", "shape": [1, 4], "datatype": "%s", "data": %s}]}'
_DEEP = b"[" * 1000 + b"]" * 1000


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"null", b"[]", b'{"inputs": 1}', b'{"inputs": [1]}', b'{"inputs": [{}]}',
        _WRITTEN % (b"FP32", b"[NaN, 1, 1, 1]"), _WRITTEN % (b"FP32", b"[1e400, 1, 1, 1]"),
        _WRITTEN % (b"BYTES", _DEEP), _WRITTEN % (b"FP32", _DEEP), b'{"instances": %s}' % _DEEP,
        b'{"inputs": [], "parameters": 1}',
        b"\xff\xfe",
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused(client: httpx.Client, body: bytes) -> None:
    for path in ("/v2/models/m/infer", "/v1/models/m:predict"):
        answer = client.post(path, content=body)
        assert (answer.status_code, bool(answer.json()["error"])) == (400, True), answer.text


@pytest.mark.parametrize(
    ("instances", "status", "words"),
    [
        ([[5, 3, 1, 0]], 200, "predictions"),
        ([[5.0, 3, True, 0]], 200, "predictions"),
        ([[None, 3, 1, 0]], 400, "NaN"),
        ([[None, "3", 1, 0]], 400, "'3'"),
        ([["a", "b", "c", "d"]], 400, "could not convert"),
        ([[1, "b", "c", "d"]], 400, "got both"),
        ([[1, 2], [3]], 400, "equally long"),
        ([[[1, 2, 3, 4]]], 400, "[-1, 4]"),
        ([], 400, "at least one row"),
        ([{"a": 1}], 400, "feature names"),
        ({"a": 1}, 400, "list"),
        (None, 400, "list"),
    ],
)
def test_v1_instances(client: httpx.Client, instances: Any, status: int, words: str) -> None:
    answer = client.post("/v1/models/m:predict", json={"instances": instances})
    assert answer.status_code == status, answer.text
    assert words in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/other", "/v2/models/other/infer", "/v2/models/m/versions/7/infer",
        "/v2/models/m/versions", "/v2/repository/models/", "/v2/repository/models/other/load",
        "/v1/models/other:predict", "/v1/models/:predict", "/v1/models/m/versions/1:predict",
        "/ab/infer", "/v2//models", "/%00", "/nowhere",
    ],
)  # fmt: skip
def test_unknown_models_versions_and_paths_are_404(client: httpx.Client, path: str) -> None:
    for method in ("GET", "POST"):
        answer = client.request(method, path, json={})
        assert (answer.status_code, bool(answer.json()["error"])) == (404, True), answer.text


def test_a_wrong_method_says_the_right_one(client: httpx.Client) -> None:
    answer = client.delete("/v2/models/m/infer")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_head_is_get_without_its_body(client: httpx.Client) -> None:
    for path in ("/v2", "/v2/health/ready", "/v2/models/m", "/v1/models/m", "/nowhere"):
        told, asked = client.get(path), client.head(path)
        assert (asked.status_code, asked.content) == (told.status_code, b"")
        assert asked.headers["content-length"] == told.headers["content-length"]


def test_one_connection_outlives_every_refusal(iris: Server) -> None:
    address = iris.url.removeprefix("http://")
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.connect()
    connection.auto_open = 0  # a closed one would fail the next request
    infer, good = "/v2/models/m/infer", json.dumps({"inputs": [tensor(ROW)]}).encode()
    bomb = gzip.compress(b" " * (LIMIT + 1))
    packed = {"Content-Encoding": "gzip"}
    calls: list[tuple[str, str, Any, dict[str, str], int]] = [
        ("POST", "/nowhere", good, {}, 404),
        ("PUT", infer, good, {}, 405),
        ("POST", infer, b"{", {}, 400),
        ("POST", infer, b" " * (LIMIT + 1), {}, 413),
        ("POST", infer, iter([b" " * 50_000] * 5), {"Transfer-Encoding": "chunked"}, 413),
        ("POST", infer, bomb, packed, 413),
        ("POST", infer, gzip.compress(good)[:-4], packed, 400),
        ("POST", infer, gzip.compress(good) * 2, packed, 400),
        ("POST", infer, good, {"Content-Encoding": "br"}, 400),
        ("HEAD", "/nowhere", None, {}, 404),
        ("POST", infer, gzip.compress(good), packed, 200),
    ]
    for method, path, body, headers, status in calls:
        connection.request(
            method, path, body, headers, encode_chunked="Transfer-Encoding" in headers
        )
        response = connection.getresponse()
        response.read()
        assert response.status == status, (method, path, status)
    connection.close()


def test_metrics_count_by_protocol_and_code_alone(client: httpx.Client) -> None:
    infer(client, tensor(ROW))
    infer(client, tensor(["a"], "FP32"))
    client.post("/v1/models/other:predict", json={})
    client.post("/zz/infer", json={})
    text = client.get("/metrics").text
    lines = [line for line in text.splitlines() if line.startswith("bessemer_modelserver_answers")]
    labels = {tuple(line.partition("{")[2].partition("}")[0].split(",")) for line in lines}
    assert {label[1] for label in labels} == {'model_name="m"'}
    assert {label[2] for label in labels} <= {'protocol="v1"', 'protocol="v2"'}
    assert ('code="400"', 'model_name="m"', 'protocol="v2"') in labels
    assert ('code="404"', 'model_name="m"', 'protocol="v1"') in labels


@pytest.mark.parametrize(
    ("name", "framework"),
    [
        ("logistic.joblib", "sklearn"),
        ("named.pkl", "sklearn"),
        ("two.joblib", "sklearn"),
        ("clusters.joblib", "sklearn"),
        ("boosted.pkl", "xgboost"),
        ("booster.ubj", "xgboost"),
    ],
)
def test_answers_are_what_the_metadata_says(
    python: Path, models: Path, tmp_path: Path, name: str, framework: str
) -> None:
    log = tmp_path / "log"
    with (
        modelserver_world.serve(python, models / name, framework, log) as server,
        httpx.Client(base_url=server.url) as client,
    ):
        about = client.get("/v2/models/m").json()
        (taken,), (told,) = about["inputs"], about["outputs"]
        row = tensor([1] * taken["shape"][1], taken["datatype"], [1, taken["shape"][1]])
        (given,) = infer(client, row).json()["outputs"]
    assert (given["name"], given["datatype"]) == (told["name"], told["datatype"])
    assert given["shape"] == [1, *told["shape"][1:]]


def test_columns_by_name(python: Path, models: Path, tmp_path: Path) -> None:
    told = json.loads((models / "expected.json").read_text())["booster.ubj"]
    row, answer = told["rows"][0], told["batch"][0]
    columns = [
        {"name": f"cell{number}", "shape": [1], "datatype": "FP64", "data": [value]}
        for number, value in enumerate(row)
    ]
    log = tmp_path / "log"
    with (
        modelserver_world.serve(python, models / "columns.ubj", "xgboost", log) as server,
        httpx.Client(base_url=server.url) as client,
    ):
        turned = infer(client, *reversed(columns)).json()
        assert turned["outputs"][0]["data"] == [answer]
        named = dict(zip((column["name"] for column in columns), row, strict=True))
        v1 = client.post("/v1/models/m:predict", json={"instances": [named]})
        assert v1.json() == {"predictions": [answer]}
        unknown = infer(client, {**columns[0], "name": "cellar"}, *columns[1:])
        assert (unknown.status_code, "cellar" in unknown.json()["error"]) == (400, True)
        missing = infer(client, *columns[1:])
        assert (missing.status_code, "missing are cell0" in missing.json()["error"]) == (400, True)
        twice = infer(client, columns[0], *columns)
        assert (twice.status_code, "own" in twice.json()["error"]) == (400, True)
        ragged = infer(client, {**columns[0], "shape": [2], "data": [1, 2]}, *columns[1:])
        assert (ragged.status_code, "equally long" in ragged.json()["error"]) == (400, True)
        wide = [{**column, "shape": [1, 2], "data": [1, 2]} for column in columns]
        refused = infer(client, *wide)
        assert (refused.status_code, "one column" in refused.json()["error"]) == (400, True)
        tall = infer(client, *({**column, "shape": [1, 1]} for column in columns)).json()
        assert tall["outputs"][0]["data"] == [answer]


def make_path(models: Path, folder: Path) -> Path:
    """A folder to import the classes of made models from."""
    path = folder / "src"
    path.mkdir()
    for module in ("broken_model.py", "whole_model.py"):
        shutil.copy(models / module, path)
    return path


@pytest.mark.parametrize("name", ["named.pkl", "raw.joblib"])
def test_labels_that_are_texts(python: Path, models: Path, tmp_path: Path, name: str) -> None:
    log, label = tmp_path / "log", "a"
    with (
        modelserver_world.serve(
            python, models / name, "sklearn", log, path=make_path(models, tmp_path)
        ) as server,
        httpx.Client(base_url=server.url) as client,
    ):
        output = infer(client, tensor(ROW)).json()["outputs"][0]
        assert (output["datatype"], output["data"]) == ("BYTES", [label])
        v1 = client.post("/v1/models/m:predict", json={"instances": [ROW]})
        assert v1.json() == {"predictions": [label]}
        call = {"inputs": [tensor(ROW)], "parameters": {"binary_data_output": True}}
        raw = client.post("/v2/models/m/infer", json=call)
        size = int(raw.headers["inference-header-content-length"])
        assert raw.content[size:] == b"\x01\x00\x00\x00" + label.encode()


async def test_a_model_loaded_anew_leaves_no_request_without_an_answer(
    python: Path, models: Path, tmp_path: Path
) -> None:
    model, log, path = models / "slow.joblib", tmp_path / "log", make_path(models, tmp_path)
    with modelserver_world.serve(python, model, "sklearn", log, path=path) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            call = {"inputs": [tensor(ROW)]}
            # The first ones show it to be slow; from then on it runs beside the event loop.
            for _ in range(2):
                await client.post("/v2/models/m/infer", json=call)
            asked = [
                asyncio.create_task(client.post("/v2/models/m/infer", json=call)) for _ in range(8)
            ]
            for _ in range(3):
                assert (await client.post("/v2/repository/models/m/load")).status_code == 200
            statuses = [(await task).status_code for task in asked]
            assert (await client.post("/v2/repository/models/m/unload")).status_code == 200
            assert (await client.get("/v2/models/m/ready")).status_code == 503
            refused = await client.post("/v2/models/m/infer", json=call)
    assert statuses == [200] * 8
    assert (refused.status_code, "not ready" in refused.json()["error"]) == (503, True)


async def test_a_model_with_one_answer_for_all_rows_answers_each_caller(
    python: Path, models: Path, tmp_path: Path
) -> None:
    model, log, path = models / "whole.pkl", tmp_path / "log", make_path(models, tmp_path)
    with modelserver_world.serve(python, model, "xgboost", log, path=path) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
            call = {"inputs": [tensor(ROW)]}
            asked = [client.post("/v2/models/m/infer", json=call) for _ in range(32)]
            answers = await asyncio.gather(*asked)
    assert [answer.json()["outputs"][0]["data"] for answer in answers] == [[1.0]] * 32
