"""A Bessemer as its users have it: a real process on a home of its own, on free ports.

::

    with harness.bessemer(tmp_path) as running:
        running.get("/api/v1/namespaces")
        running.kill9()
        running.restart()

Everything that it started is gone at the end, or the test fails.
"""

from __future__ import annotations

import collections
import http.client
import itertools
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bessemer.base.home import Home
from bessemer.cluster.kubelet.volumes import memory

PROGRAM = Path(sys.executable).parent / "bessemer"
EXAMPLE = Path(__file__).parents[1] / "examples" / "breast_cancer"
HOST = "127.0.0.1"
START_SECONDS = 90.0
#: Homes of tests share the downloads of the person who runs them; each would fetch them anew.
DOWNLOADS = os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache" / "uv")
STOP_SECONDS = 90.0
#: The Python that has the official SDKs, and what a test that runs it is marked with.
SDKS = EXAMPLE / ".venv" / "bin" / "python"
needs_sdks = pytest.mark.skipif(
    not SDKS.exists(), reason="needs the example's environment: make install"
)
_LAST_LINE = "  runtime "  # of what it says once it is ready


class NotReady(AssertionError):
    """It did not start; the text has what it said."""


@dataclass(frozen=True)
class Ended:
    """A command that ran to its end."""

    code: int
    out: str
    err: str


def run(*arguments: str, env: Mapping[str, str] | None = None, timeout: float = 60.0) -> Ended:
    """Run ``bessemer`` with arguments to its end."""
    done = subprocess.run(
        [str(PROGRAM), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "NO_COLOR": "1", **(env or {})},
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def free_block() -> int:
    """P such that P, P+1 and P+2 are free now, below the range of the kernel's own choices."""
    for _ in range(500):
        first = random.randrange(10_000, 32_000, 3)
        if all(_is_free(first + offset) for offset in range(3)):
            return first
    raise AssertionError("no three free ports in a row")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def processes_of(folder: Path) -> list[int]:
    """The pids of every process that works in the folder or was told of it."""
    mark = str(folder).encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            # A sandboxed process shows the folder only in what is mounted for it.
            traces = [(entry / name).read_bytes() for name in ("cmdline", "environ", "mountinfo")]
            traces.append(os.readlink(entry / "cwd").encode())
        except OSError:
            continue
        if any(mark in trace for trace in traces):
            found.append(int(entry.name))
    return found


class Running:
    """One home and the process on it."""

    def __init__(self, home: Path, port: int | None = None, person: tuple[str, ...] = ()) -> None:
        self.home = home
        self.port = port or free_block()
        self.person = person  # words before the command, which make somebody else run it
        self.process: subprocess.Popen[str] | None = None
        self.lines: list[str] = []
        self._said = threading.Condition()

    # ---- its life

    def start(self) -> Running:
        """Start it, and wait until it says that it is ready."""
        up = [str(PROGRAM), "up", "--home", str(self.home), "--port", str(self.port)]
        arguments = [*self.person, *up]
        self.lines = []
        self.process = subprocess.Popen(
            arguments,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            # A process group of its own: what a test's Ctrl-C hits is chosen by the test.
            start_new_session=True,
            env={**os.environ, "NO_COLOR": "1", "UV_CACHE_DIR": DOWNLOADS},
        )
        threading.Thread(target=self._listen, args=(self.process,), daemon=True).start()
        self.wait_for_line(_LAST_LINE, START_SECONDS)
        return self

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                with self._said:
                    self.lines.append(line.rstrip("\n"))
                    self._said.notify_all()
        with self._said:
            process.wait()
            self._said.notify_all()

    def wait_for_line(self, text: str, seconds: float) -> str:
        """The line that holds the text, once it is said."""

        def found() -> str | None:
            return next((line for line in self.lines if text in line), None)

        with self._said:
            self._said.wait_for(lambda: found() is not None or self._has_ended(), seconds)
            line = found()
        if line is None:
            raise NotReady(f"it never said {text!r}, but:\n" + "\n".join(self.lines))
        return line

    def _has_ended(self) -> bool:
        return self.process is None or self.process.returncode is not None

    @property
    def is_sandboxed(self) -> bool:
        """Whether its pods have namespaces, as its ready line says."""
        return self.wait_for_line(_LAST_LINE, START_SECONDS).split()[1] == "sandbox"

    @property
    def pid(self) -> int:
        """Of the control plane."""
        assert self.process is not None
        return self.process.pid

    def stop(self, signum: int = signal.SIGTERM) -> int:
        """Ask it to end, wait, and give its exit code."""
        assert self.process is not None
        if not self._has_ended():
            self.process.send_signal(signum)
        return self.wait()

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for its end."""
        assert self.process is not None
        with self._said:
            if not self._said.wait_for(self._has_ended, seconds):
                raise AssertionError("it did not end, but said:\n" + "\n".join(self.lines))
        return self.process.returncode

    def kill9(self) -> None:
        """End the control plane as a crash would; its pods run on."""
        self.stop(signal.SIGKILL)

    def restart(self) -> Running:
        """Start it again on the same home and ports."""
        assert self._has_ended()
        return self.start()

    # ---- how to reach it

    @property
    def kubeconfig(self) -> Path:
        """The file for every client."""
        return self.home / "kubeconfig"

    @property
    def ca(self) -> Path:
        """The CA's certificate."""
        return self.home / "keys" / "ca.crt"

    @property
    def token(self) -> str:
        """The admin token."""
        return (self.home / "keys" / "admin.token").read_text().strip()

    @property
    def api(self) -> str:
        """https, with KFP's routes."""
        return f"https://{HOST}:{self.port}"

    @property
    def pipelines(self) -> str:
        """http: KFP's routes and the pages."""
        return f"http://{HOST}:{self.port + 1}"

    @property
    def gateway(self) -> str:
        """http: served models."""
        return f"http://{HOST}:{self.port + 2}"

    def env(self) -> dict[str, str]:
        """The environment of a client program: this process' own and ``bessemer env``."""
        return {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "BESSEMER_API": self.api,
            "BESSEMER_PIPELINES": self.pipelines,
            "BESSEMER_GATEWAY": self.gateway,
            "BESSEMER_TOKEN": self.token,
        }

    def client(self, script: str | Path, *arguments: str, timeout: float = 120.0) -> str:
        """Run a program of the official SDKs, text or file, to its end; what it printed."""
        program = ["-c", script] if isinstance(script, str) else [str(script)]
        done = subprocess.run(
            [str(SDKS), *program, *arguments],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env=self.env(),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def tell(self, script: Path, *arguments: str, timeout: float = 120.0) -> Any:
        """As ``client``; the JSON that it printed last."""
        return json.loads(self.client(script, *arguments, timeout=timeout).splitlines()[-1])

    # ---- its API

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        content_type: str = "application/json",
    ) -> tuple[int, Any]:
        """One request over https: the status, and the answer parsed if it is JSON."""
        context = ssl.create_default_context(cafile=str(self.ca))
        connection = http.client.HTTPSConnection(HOST, self.port, timeout=30, context=context)
        bearer = self.token if token is None else token
        headers = {"Content-Type": content_type}
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, path, payload, headers)
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        is_json = "json" in (response.getheader("content-type") or "")
        return response.status, json.loads(data) if is_json else data.decode()

    def get(self, path: str) -> Any:
        """What is there; anything but 200 fails the test."""
        status, answer = self.request("GET", path)
        assert status == 200, answer
        return answer

    def create(self, path: str, body: Any) -> Any:
        """Create and give what was stored."""
        status, answer = self.request("POST", path, body)
        assert status in (200, 201), answer
        return answer

    def delete(self, path: str) -> None:
        """Ask for its end; it may be gone already."""
        status, answer = self.request("DELETE", path)
        assert status in (200, 202, 404), answer

    def until(
        self, path: str, holds: Callable[[list[Any]], Any], seconds: float = 60.0
    ) -> list[Any]:
        """Watch the objects at a list's path until that holds of them; then give them."""
        context = ssl.create_default_context(cafile=str(self.ca))
        found = self.get(path)
        known = {obj["metadata"]["uid"]: obj for obj in found["items"]}
        if holds(list(known.values())):
            return list(known.values())
        version = found["metadata"]["resourceVersion"]
        joint = "&" if "?" in path else "?"
        connection = http.client.HTTPSConnection(HOST, self.port, timeout=seconds, context=context)
        try:
            connection.request(
                "GET",
                f"{path}{joint}watch=1&resourceVersion={version}&timeoutSeconds={int(seconds)}",
                headers={"Authorization": f"Bearer {self.token}"},
            )
            for line in connection.getresponse():
                event = json.loads(line)
                obj = event["object"]
                if event["type"] == "DELETED":
                    known.pop(obj["metadata"]["uid"], None)
                elif event["type"] in ("ADDED", "MODIFIED"):
                    known[obj["metadata"]["uid"]] = obj
                if holds(list(known.values())):
                    return list(known.values())
        except TimeoutError:
            pass
        finally:
            connection.close()
        told = json.dumps(list(known.values()))[:4000]
        said = "\n".join(self.lines[-40:])
        raise AssertionError(f"it never held of {path}: {told}\nBessemer said:\n{said}")

    # ---- what it leaves

    def processes(self) -> list[int]:
        """The pids of every process that works for this home: it, its helpers, its pods' all."""
        return processes_of(self.home)

    def pod_pids(self) -> dict[str, int]:
        """The pid of each container that has started and not ended, by its attempt's folder."""
        pids = {}
        for started in self.home.glob("pods/*/containers/*/*/started"):
            if not (started.parent / "exit").exists():
                pids[str(started.parent.relative_to(self.home))] = json.loads(started.read_text())[
                    "pid"
                ]
        return pids


@contextmanager
def bessemer(
    folder: Path, port: int | None = None, person: tuple[str, ...] = ()
) -> Iterator[Running]:
    """A running one on ``folder/home``, ended with all its pods afterwards."""
    running = Running(folder / "home", port, person)
    try:
        yield running.start()
    finally:
        if running.process is not None:
            if running._has_ended() and running.processes():
                running.restart()  # after a kill -9: it adopts what runs, then ends it
            running.stop()
        memory.remove(Home(running.home))


def fill_disk(file: Path) -> None:
    """Take all that is left of a disk that others write to, too."""
    with file.open("wb", buffering=0) as ballast:
        for size in (1 << 16, 1 << 12):
            pieces = (ballast.write(bytes(size)) for _ in itertools.count())
            with pytest.raises(OSError, match="No space left"):
                collections.deque(pieces, maxlen=0)
