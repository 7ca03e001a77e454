"""The model server as a process: V1, V2, binary tensors, files, wrong input, end."""

import asyncio
import gzip
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

CLIENTS = ROOT / "tests" / "model_clients.py"
CLIENT_PYTHON = ROOT / "examples" / "breast_cancer" / ".venv" / "bin" / "python"


@pytest.fixture(scope="module")
def python() -> Path:
    return modelserver_world.make_environment()


@pytest.fixture(scope="module")
def models(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    script = ROOT / "tests" / "make_models.py"
    subprocess.run([python, script, folder], check=True)
    return folder


@pytest.fixture(scope="module")
def iris(python: Path, models: Path) -> Iterator[Server]:
    log = models / "iris.log"
    with modelserver_world.serve(python, models / "logistic.joblib", "sklearn", log) as server:
        yield server


@pytest.fixture
def http(iris: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=iris.url) as client:
        yield client


def expected(models: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((models / "expected.json").read_text())[name]
    return found


def v2(rows: Any, datatype: str = "FP64", shape: list[int] | None = None) -> dict[str, Any]:
    shape = shape or [len(rows), len(rows[0])]
    return {"inputs": [{"name": "x", "shape": shape, "datatype": datatype, "data": rows}]}


@pytest.mark.parametrize(
    ("name", "framework"),
    [
        ("logistic.joblib", "sklearn"),
        ("named.pkl", "sklearn"),
        ("linear.joblib", "sklearn"),
        ("forest.pickle", "sklearn"),
        ("artifact/model", "sklearn"),
        ("boosted.pkl", "xgboost"),
        ("booster.json", "xgboost"),
        ("booster.ubj", "xgboost"),
        ("boosterfile", "xgboost"),
    ],
)
async def test_answers_equal_predict_alone_and_side_by_side(
    python: Path, models: Path, tmp_path: Path, name: str, framework: str
) -> None:
    told = expected(models, name)
    with modelserver_world.serve(python, models / name, framework, tmp_path / "log") as server:
        limits = httpx.Limits(max_connections=16)
        async with httpx.AsyncClient(base_url=server.url, limits=limits, timeout=60) as http:
            whole = await http.post("/v1/models/m:predict", json={"instances": told["rows"]})
            assert whole.json()["predictions"] == told["batch"]

            async def ask(row: list[float]) -> Any:
                answer = await http.post("/v2/models/m/infer", json=v2([row]))
                return answer.json()["outputs"][0]["data"][0]

            seen = await asyncio.gather(*(ask(row) for row in told["rows"]))
    # BLAS adds up in an order that depends on where in memory a row lies, so the last bits of a
    # linear model are not even predict's own to promise.
    exact = name != "linear.joblib"
    assert seen == (told["single"] if exact else pytest.approx(told["single"], rel=1e-9))


def libraries(server: Server) -> str:
    """The files mapped by a server's process: a package's compiled parts, once it is imported."""
    return Path(f"/proc/{server.process.pid}/maps").read_text()


@pytest.mark.parametrize(
    ("name", "imported"), [("booster.json", False), ("boosterfile", False), ("boosted.pkl", True)]
)
def test_a_booster_is_served_without_scikit_learn(
    python: Path, models: Path, tmp_path: Path, name: str, *, imported: bool
) -> None:
    with modelserver_world.serve(python, models / name, "xgboost", tmp_path / "log") as server:
        row = expected(models, name)["rows"][0]
        answer = httpx.post(f"{server.url}/v1/models/m:predict", json={"instances": [row]})
        assert answer.json()["predictions"] == expected(models, name)["batch"][:1]
        assert "/xgboost/" in libraries(server)
        assert ("/sklearn/" in libraries(server)) is imported


def test_a_booster_cannot_become_a_pickle_without_a_new_start(
    python: Path, models: Path, tmp_path: Path
) -> None:
    file = tmp_path / "model"
    shutil.copy(models / "booster.json", file)
    with modelserver_world.serve(python, file, "xgboost", tmp_path / "log") as server:
        shutil.copy(models / "boosted.pkl", file)
        load = f"{server.url}/v2/repository/models/m/load"
        refused = httpx.post(load)
        assert (refused.status_code, "start it again" in refused.json()["error"]) == (422, True)
        rows = expected(models, "booster.ubj")["rows"]
        assert httpx.post(f"{server.url}/v2/models/m/infer", json=v2(rows)).status_code == 200
        shutil.copy(models / "booster.ubj", file)
        assert httpx.post(load).json() == {"name": "m", "load": True}


def test_v2_names_the_version_and_makes_an_id(http: httpx.Client) -> None:
    answer = http.post("/v2/models/m/infer", json=v2([[5.1, 3.5, 1.4, 0.2]])).json()
    assert answer["model_name"] == "m"
    assert answer["model_version"] == "m-predictor-00001"
    assert len(answer["id"]) == 36
    assert answer["outputs"] == [
        {"name": "output-0", "shape": [1], "datatype": "INT64", "data": [0]}
    ]
    call = {**v2([[5.1, 3.5, 1.4, 0.2]]), "id": "mine"}
    path = "/v2/models/m/versions/m-predictor-00001/infer"
    assert http.post(path, json=call).json()["id"] == "mine"


def test_health_and_metadata(http: httpx.Client) -> None:
    assert http.get("/").json() == {"status": "alive"}
    assert http.get("/v2").json()["name"] == "bessemer"
    assert http.get("/v2/health/live").json() == {"live": True}
    assert http.get("/v2/health/ready").json() == {"ready": True}
    assert http.get("/v2/models/m/ready").json() == {"name": "m", "ready": True}
    assert http.get("/v1/models/m").json() == {"name": "m", "ready": True}
    assert http.get("/v1/models").json() == {"models": ["m"]}
    about = http.get("/v2/models/m").json()
    assert about["platform"] == "sklearn"
    assert about["inputs"] == [{"name": "input-0", "datatype": "FP64", "shape": [-1, 4]}]
    index = http.post("/v2/repository/index").json()
    assert index == [{"name": "m", "version": "m-predictor-00001", "state": "READY", "reason": ""}]


@pytest.mark.parametrize(
    ("call", "status", "words"),
    [
        (v2([[1.0, 2.0, 3.0]]), 400, ["[-1, 4]", "[1, 3]"]),
        (v2([1.0, 2.0, 3.0, 4.0], shape=[4]), 400, ["[-1, 4]", "[4]"]),
        (v2([[1.0, 2.0, 3.0, 4.0]], shape=[2, 4]), 400, ["8 values", "4"]),
        (v2([["a", "b", "c", "d"]]), 400, ["FP64", "'a'"]),
        (v2([[1.5, 2, 3, 4]], datatype="FP8"), 400, ["FP8", "FP32"]),
        (v2([], shape=[0, 4]), 400, ["at least one row"]),
        (v2([[1, 2, 3, None]]), 400, ["NaN"]),
        ({"inputs": []}, 400, ["inputs"]),
        ({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32"}]}, 400, ["data"]),
        ([1], 400, ["object"]),
        ({**v2([[1, 2, 3, 4]]), "outputs": [{"name": "no"}]}, 400, ["output-0", "no"]),
    ],
)
def test_wrong_input_is_400_and_says_what_is_expected(
    http: httpx.Client, call: Any, status: int, words: list[str]
) -> None:
    answer = http.post("/v2/models/m/infer", json=call)
    assert answer.status_code == status
    assert all(word in answer.json()["error"] for word in words), answer.text
    assert http.post("/v2/models/m/infer", json=v2([[5.1, 3.5, 1.4, 0.2]])).status_code == 200


def test_unknown_paths_and_methods(http: httpx.Client) -> None:
    for path in ("/v2/models/n", "/v2/models/m/versions/7", "/v1/models/n", "/nowhere"):
        answer = http.get(path)
        assert answer.status_code == 404
        assert answer.json()["error"]
    assert http.get("/v2/models/m/infer").status_code == 405
    assert http.post("/v2/models/m/infer", content=b'{"inputs": [NaN]').status_code == 400
    assert http.post("/v1/models/m:explain", json={}).status_code == 501


def test_binary_tensors_in_and_out(http: httpx.Client) -> None:
    raw = struct.pack("<8f", 5.1, 3.5, 1.4, 0.2, 6.2, 3.4, 5.4, 2.3)
    tensor = {"name": "x", "shape": [2, 4], "datatype": "FP32"}
    head = json.dumps(
        {
            "inputs": [{**tensor, "parameters": {"binary_data_size": len(raw)}}],
            "outputs": [{"name": "output-0", "parameters": {"binary_data": True}}],
        }
    ).encode()
    length = {"Inference-Header-Content-Length": str(len(head))}
    answer = http.post("/v2/models/m/infer", content=head + raw, headers=length)
    size = int(answer.headers["inference-header-content-length"])
    output = json.loads(answer.content[:size])["outputs"][0]
    assert output["parameters"] == {"binary_data_size": 16}
    assert struct.unpack("<2q", answer.content[size:]) == (0, 2)
    half = struct.pack("<4e", 5.1, 3.5, 1.4, 0.2)
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP16"}
    call = {"inputs": [{**tensor, "parameters": {"binary_data_size": 8}}]}
    head = json.dumps(call).encode()
    length = {"Inference-Header-Content-Length": str(len(head))}
    answer = http.post("/v2/models/m/infer", content=head + half, headers=length)
    assert answer.json()["outputs"][0]["data"] == [0]
    short = http.post("/v2/models/m/infer", content=head + half[:6], headers=length)
    assert (short.status_code, "6 bytes" in short.json()["error"]) == (400, True)


def test_gzip_both_ways_and_bombs_refused(http: httpx.Client, models: Path) -> None:
    rows = expected(models, "logistic.joblib")["rows"] * 10
    body = gzip.compress(json.dumps(v2(rows)).encode())
    headers = {"Content-Encoding": "gzip", "Accept-Encoding": "deflate"}
    answer = http.post("/v2/models/m/infer", content=body, headers=headers)
    assert answer.headers["content-encoding"] == "deflate"
    assert len(answer.json()["outputs"][0]["data"]) == 1500
    bomb = gzip.compress(b" " * (101 * 1024 * 1024))
    refused = http.post("/v2/models/m/infer", content=bomb, headers=headers)
    assert refused.status_code == 413
    broken = http.post("/v2/models/m/infer", content=body[:-9], headers=headers)
    assert broken.status_code == 400


def test_metrics_under_kserves_names(http: httpx.Client) -> None:
    http.post("/v2/models/m/infer", json=v2([[5.1, 3.5, 1.4, 0.2]]))
    text = http.get("/metrics").text
    assert 'request_predict_seconds_count{model_name="m"}' in text
    assert 'code="200",model_name="m",protocol="v2"' in text


def test_text_model_takes_texts(python: Path, models: Path, tmp_path: Path) -> None:
    model = models / "text.joblib"
    with modelserver_world.serve(python, model, "sklearn", tmp_path / "log") as server:
        texts = ["bad bad", "good"]
        v1 = httpx.post(f"{server.url}/v1/models/m:predict", json={"instances": texts})
        call = v2(texts, datatype="BYTES", shape=[2])
        answer = httpx.post(f"{server.url}/v2/models/m/infer", json=call)
    assert v1.json() == {"predictions": [0, 1]}
    assert answer.json()["outputs"][0]["data"] == [0, 1]


def test_model_that_raises_is_500_and_the_server_lives(
    python: Path, models: Path, tmp_path: Path
) -> None:
    home = tmp_path / "src"
    home.mkdir()
    shutil.copy(models / "broken_model.py", home)
    with modelserver_world.serve(
        python, models / "broken.joblib", "sklearn", tmp_path / "log", path=home
    ) as server:
        for _ in range(2):
            answer = httpx.post(f"{server.url}/v2/models/m/infer", json=v2([[1, 2, 3, 4]]))
            assert answer.status_code == 500
            assert "the model broke" in answer.json()["error"]
        assert httpx.get(f"{server.url}/v2/health/live").status_code == 200


def test_pickle_of_another_version_says_so(python: Path, models: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with modelserver_world.serve(python, models / "old.pkl", "sklearn", log) as server:
        about = httpx.get(f"{server.url}/v2/models/m").json()
    assert "1.0.1" in about["parameters"]["warning"]
    assert "1.9.1" in about["parameters"]["warning"]
    assert "1.0.1" in log.read_text()


@pytest.mark.parametrize(
    ("name", "framework", "words"),
    [
        ("nothing", "sklearn", ["nothing exists"]),
        ("x" * 300, "sklearn", ["can't be read", "too long"]),
        ("empty", "sklearn", ["no sklearn model", ".joblib"]),
        ("several", "sklearn", ["a.joblib, b.pkl"]),
        ("five.joblib", "sklearn", ["int", "predict()"]),
        ("garbage.joblib", "sklearn", ["can't be loaded", "1.9.1"]),
        ("booster.json", "sklearn", ["no sklearn model", "xgboost JSON"]),
        ("five.joblib", "xgboost", ["int", "Booster"]),
    ],
)
def test_what_is_no_model_ends_at_once_with_the_reason(
    python: Path, models: Path, tmp_path: Path, name: str, framework: str, words: list[str]
) -> None:
    told = tmp_path / "termination"
    argv = modelserver_world.command(python, models / name, framework, 0)
    ended = subprocess.run(
        [*argv, "--termination_path", told], env=modelserver_world.environment(),
        capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 1
    assert all(word in told.read_text() for word in words), told.read_text()
    assert b"Traceback" not in ended.stderr


async def test_sigterm_answers_what_comes_and_ends(
    python: Path, models: Path, tmp_path: Path
) -> None:
    model, log = models / "logistic.joblib", tmp_path / "log"
    statuses: list[int] = []
    loop = asyncio.get_running_loop()
    # Requests never pause here, so it is the second of the two times that ends the server.
    flags = ("--drain_seconds=1", "--most_drain_seconds=2.5")
    with modelserver_world.serve(python, model, "sklearn", log, flags=flags) as server:
        async with httpx.AsyncClient(base_url=server.url) as http:
            assert (await http.get("/v2/health/ready")).status_code == 200
            server.process.terminate()
            start, end = loop.time(), 0.0
            call = v2([[5.1, 3.5, 1.4, 0.2]])
            while not end:
                try:
                    statuses.append((await http.post("/v2/models/m/infer", json=call)).status_code)
                except httpx.TransportError:
                    end = loop.time()
        assert await asyncio.to_thread(server.process.wait, 10) == 0
    assert set(statuses) == {200}
    assert end - start > 2.4


@pytest.mark.parametrize("client", ["triton", "kserve_v1", "kserve_v2"])
def test_official_clients(iris: Server, client: str) -> None:
    if not CLIENT_PYTHON.exists():
        pytest.skip("needs the example's environment: uv sync in examples/breast_cancer")
    done = subprocess.run(
        [CLIENT_PYTHON, CLIENTS, client, iris.url], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().endswith("ok")
