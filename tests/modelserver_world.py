"""Model servers as processes, in an environment of their own as in a serving pod."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import uv

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "scikit-learn==1.9.1", "xgboost-cpu==3.2.0", "joblib", "numpy", "pandas", "uvicorn", "uvloop",
    "httptools", "orjson", "prometheus-client",
)  # fmt: skip
DEADLINE_SECONDS = 60.0


def make_environment() -> Path:
    """The Python of an environment with the model server's packages; kept between test runs."""
    folder = Path(tempfile.gettempdir()) / f"bessemer-test-modelserver-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        python = folder / "venv" / "bin" / "python"
        done = folder / "done"
        if not done.exists() or done.read_text() != " ".join(PACKAGES):
            tool = uv.find_uv_bin()
            subprocess.run([tool, "venv", "-q", "--clear", folder / "venv"], check=True)
            install: list[Any] = [tool, "pip", "install", "-q", "--python", python]
            subprocess.run([*install, *PACKAGES], check=True)
            done.write_text(" ".join(PACKAGES))
        return python


@dataclass
class Server:
    """A running model server."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_SECONDS)


def command(python: Path, model: Path, framework: str, port: int) -> list[str]:
    return [
        str(python), "-m", "bessemer.modelserver", "--model_name", "m", "--model_dir", str(model),
        "--model_version", "m-predictor-00001", "--framework", framework,
        "--http_port", str(port), "--host", "127.0.0.1",
    ]  # fmt: skip


def environment(path: Path | None = None) -> dict[str, str]:
    folders = [str(ROOT / "src"), *([str(path)] if path else [])]
    return {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(folders)}


@contextmanager
def serve(
    python: Path,
    model: Path,
    framework: str,
    log: Path,
    path: Path | None = None,
    flags: Sequence[str] = (),
    env: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Server]:
    """A server whose model is loaded; ``path`` is importable there too."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*command(python, model, framework, port), *flags], env={**environment(path), **env},
            stdout=stream, stderr=stream,
        )  # fmt: skip
    server = Server(f"http://127.0.0.1:{port}", process, log)
    try:
        _wait_ready(server)
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _wait_ready(server: Server) -> None:
    transport = httpx.HTTPTransport(retries=10)  # backs off to seconds: an import takes one
    with httpx.Client(transport=transport, timeout=DEADLINE_SECONDS) as http:
        try:
            assert http.get(f"{server.url}/v2/models/m/ready").status_code == 200
        except httpx.TransportError as error:
            raise AssertionError(server.log.read_text()) from error
