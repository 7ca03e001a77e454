"""Requests per second of one model server beside KServe's, and what Envoy adds.

scikit-learn's LogisticRegression on iris, V2 JSON, one row a request, one worker, metrics on.
Needs wrk. The servers run in environments of their own, kept under benchmarks/.work.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sysconfig
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import uv

from bessemer.gateway import plan
from bessemer.gateway.bootstrap import Folders, Settings, make_bootstrap
from bessemer.gateway.render import STRIPPED_HEADERS, render

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "benchmarks" / ".work"
ROUNDS = 3
SECONDS = 4
SKLEARN = "scikit-learn==1.9.1"
OURS = (
    SKLEARN,
    "joblib",
    "numpy",
    "uvicorn",
    "uvloop",
    "httptools",
    "orjson",
    "prometheus-client",
)
KSERVE = (SKLEARN, "joblib", "kserve==0.21.0", "kubernetes<37")
MAKE_MODEL = """
import joblib, sys
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
joblib.dump(LogisticRegression(max_iter=1000).fit(*load_iris(return_X_y=True)), sys.argv[1])
"""
REQUEST = {
    "inputs": [
        {"name": "input-0", "shape": [1, 4], "datatype": "FP64", "data": [[5.1, 3.5, 1.4, 0.2]]}
    ]
}
ENVOY = Path(sysconfig.get_path("scripts")) / "envoy"


def make_environment(name: str, packages: tuple[str, ...]) -> Path:
    """The Python of an environment with these packages."""
    folder = WORK / name
    python = folder / "bin" / "python"
    if not (folder / "done").exists():
        tool = uv.find_uv_bin()
        subprocess.run(
            [tool, "venv", "--quiet", "--clear", "--python", "3.11", folder], check=True
        )
        install = [tool, "pip", "install", "--quiet", "--compile-bytecode", "--python", python]
        subprocess.run([*install, *packages], check=True)
        (folder / "done").touch()
    return python


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def running(url: str, *command: str | Path) -> Iterator[None]:
    """A server, from its first answer to the block's end."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(list(map(str, command)), env=env, stdout=log, stderr=log)
        try:
            for _ in range(600):
                with (
                    contextlib.suppress(OSError),
                    urllib.request.urlopen(url, timeout=1) as answer,
                ):
                    if answer.status == 200:
                        break
                if process.poll() is not None:
                    log.seek(0)
                    raise SystemExit(f"{command[0]} ended:\n{log.read().decode()[-2000:]}")
                time.sleep(0.1)
            else:
                raise SystemExit(f"{command[0]} never answered at {url}")
            yield
        finally:
            process.terminate()
            process.wait(30)


def measure(url: str, connections: int, script: Path) -> dict[str, float]:
    """Wrk's figures: requests a second, p50 and p99 in ms; any other answer than 2xx ends it."""
    done = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", "-s", script, url],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    if "Non-2xx" in done or "Socket errors" in done:
        raise SystemExit(f"{url} failed under load:\n{done}")
    units = {"us": 0.001, "ms": 1.0, "s": 1000.0}

    def latency(percent: int) -> float:
        number, unit = re.findall(rf"{percent}%\s+([\d.]+)(us|ms|s)", done)[0]
        return float(number) * units[unit]

    rate = float(re.findall(r"Requests/sec:\s+([\d.]+)", done)[0])
    return {"rps": rate, "p50_ms": latency(50), "p99_ms": latency(99)}


def median(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


@contextlib.contextmanager
def envoy(folder: Path, backend: int) -> Iterator[int]:
    """Envoy, as the gateway configures it, before one server; its port."""
    folders = Folders(*(str(folder / name) for name in ("bootstrap", "xds", "run")))
    for path in (folders.bootstrap, folders.xds, folders.run):
        Path(path).mkdir()
    labels = {"kubernetes.io/service-name": "iris"}
    meta = {"name": "iris", "namespace": "default"}
    rewrite = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": "/serving/default/iris"}}],
        "filters": [{"type": "URLRewrite", "urlRewrite": rewrite}],
        "backendRefs": [{"name": "iris", "port": 80}],
    }
    endpoints = {
        "metadata": {**meta, "labels": labels},
        "ports": [{"name": "http", "port": backend}],
        "endpoints": [{"addresses": ["127.0.0.1"]}],
    }
    service = {"metadata": meta, "spec": {"ports": [{"name": "http", "port": 80}]}}
    route = {"metadata": meta, "spec": {"rules": [rule]}}
    snapshot = render([route], {("default", "iris"): service}, [endpoints])
    for name, text in plan.write_files(snapshot, STRIPPED_HEADERS).items():
        (Path(folders.xds) / name).write_text(text)
    port = free_port()
    bootstrap = Path(folders.bootstrap) / "envoy.json"
    bootstrap.write_text(make_bootstrap(Settings("127.0.0.1", port, None, folders)))
    command = [ENVOY, "-c", bootstrap, "--concurrency", "1", "--disable-hot-restart"]
    with running(f"http://127.0.0.1:{port}{plan.READY_PATH}", *command, "--log-level", "error"):
        yield port


def compare(folder: Path) -> dict[str, dict[str, float]]:
    ours, peer = make_environment("modelserver", OURS), make_environment("kserve", KSERVE)
    model, script = folder / "model.joblib", folder / "post.lua"
    subprocess.run([ours, "-c", MAKE_MODEL, model], check=True)
    script.write_text(f"wrk.method = 'POST'\nwrk.body = [==[{json.dumps(REQUEST)}]==]\n"
                      "wrk.headers['Content-Type'] = 'application/json'\n")  # fmt: skip
    port, peer_port = free_port(), free_port()
    ours_url, peer_url = (f"http://127.0.0.1:{each}" for each in (port, peer_port))
    flags = ["--model_name", "iris", "--model_dir", model, "--framework", "sklearn"]
    rows: dict[str, list[dict[str, float]]] = {}
    with contextlib.ExitStack() as stack:
        stack.enter_context(
            running(f"{ours_url}/v2/models/iris/ready", ours, "-m", "bessemer.modelserver",
                    *flags, "--http_port", str(port), "--host", "127.0.0.1")
        )  # fmt: skip
        stack.enter_context(
            running(f"{peer_url}/v2/models/iris/ready", peer, ROOT / "benchmarks/serving_peer.py",
                    model, "--http_port", str(peer_port))
        )  # fmt: skip
        gateway = stack.enter_context(envoy(folder, port))
        targets = {
            "bessemer_c32": (f"{ours_url}/v2/models/iris/infer", 32),
            "kserve_c32": (f"{peer_url}/v2/models/iris/infer", 32),
            "bessemer_c1": (f"{ours_url}/v2/models/iris/infer", 1),
            "kserve_c1": (f"{peer_url}/v2/models/iris/infer", 1),
            "bessemer_by_envoy_c1": (
                f"http://127.0.0.1:{gateway}/serving/default/iris/v2/models/iris/infer", 1
            ),
            "bessemer_by_envoy_c32": (
                f"http://127.0.0.1:{gateway}/serving/default/iris/v2/models/iris/infer", 32
            ),
        }  # fmt: skip
        for _ in range(ROUNDS):
            for name, (url, connections) in targets.items():
                rows.setdefault(name, []).append(measure(url, connections, script))
    return {name: median(each) for name, each in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("bench_serving needs wrk: apt-get install wrk")
    with tempfile.TemporaryDirectory() as folder:
        figures = compare(Path(folder))
    ratio = figures["bessemer_c32"]["rps"] / figures["kserve_c32"]["rps"]
    added = figures["bessemer_by_envoy_c1"]["p50_ms"] - figures["bessemer_c1"]["p50_ms"]
    figures["bessemer_over_kserve_c32"] = {"ratio": ratio}
    figures["added_by_envoy_c1"] = {"p50_ms": added}
    for name, row in figures.items():
        print(f"{name:26}", "  ".join(f"{key} {value:9.2f}" for key, value in row.items()))
    if chosen.json:
        chosen.json.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
