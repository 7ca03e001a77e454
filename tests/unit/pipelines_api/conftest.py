"""The REST face over a real database, asked in-process; users and rights by hand."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from bessemer.database.database import Database
from bessemer.kube.access import Attributes, Decision, User
from bessemer.pipelines import errors
from bessemer.pipelines.api import Guard, build_api
from bessemer.pipelines.history import SqlHistory
from bessemer.pipelines.records import Run, Task

BASE = "http://test/apis/v2beta1"


class People:
    """Tokens are names; "viewer" may get and list, "nobody" nothing, "admin" all."""

    async def authenticate(self, token: str) -> User | None:
        return User(token) if token in ("admin", "viewer", "nobody") else None

    async def authorize(self, user: User, attributes: Attributes) -> Decision:
        reads = attributes.verb in ("get", "list")
        allowed = user.name == "admin" or (user.name == "viewer" and reads)
        return Decision(allowed, "" if allowed else "no role binding")


class TickingClock:
    """Every look is a second later."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 23, 18, 0, 0, tzinfo=UTC)

    def now(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class MemoryLogs:
    """Logs by pod name."""

    def __init__(self) -> None:
        self.texts: dict[str, bytes] = {}
        self.forgotten: list[str] = []

    async def read(
        self, run: Run, task: Task, *, follow: bool = False, tail_lines: int | None = None
    ) -> AsyncIterator[bytes]:
        if task.pod_name not in self.texts:
            raise errors.NotFound(f"task {task.id} has no log")
        for line in self.texts[task.pod_name].splitlines(keepends=True)[-(tail_lines or 0) :]:
            yield line

    async def forget(self, run_id: str) -> None:
        self.forgotten.append(run_id)


@dataclass
class Face:
    """The face, and what it did to the others."""

    http: httpx.AsyncClient
    history: SqlHistory
    clock: TickingClock
    logs: MemoryLogs = field(default_factory=MemoryLogs)
    woken: list[str] = field(default_factory=list)

    async def call(
        self, method: str, path: str, body: Any = None, *, status: int = 200, **query: Any
    ) -> Any:
        """Ask, check the status, and give the answer's JSON."""
        url = path if path.startswith("http") else BASE + path
        answer = await self.http.request(method, url, json=body, params=query or None)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def upload(
        self, path: str, file: str, data: bytes, /, *, status: int = 200, **query: str
    ) -> Any:
        files = {"uploadfile": (file, data)}
        answer = await self.http.post(BASE + path, files=files, params=query)
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    database = Database(f"sqlite:///{tmp_path}/history.db")
    await database.start()
    people, clock, logs = People(), TickingClock(), MemoryLogs()
    woken: list[str] = []
    app = build_api(database, Guard(people, people), clock, woken.append, logs)
    headers = {"Authorization": "Bearer admin"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, headers=headers) as http:
        yield Face(http, SqlHistory(database), clock, logs, woken)
    await database.close()


def make_ir(name: str = "adder", **changes: Any) -> dict[str, Any]:
    """A small pipeline: add(a, b=2)."""
    inputs = {
        "a": {"parameterType": "NUMBER_INTEGER"},
        "b": {"parameterType": "NUMBER_INTEGER", "defaultValue": 2, "isOptional": True},
    }
    return {
        "schemaVersion": "2.1.0",
        "sdkVersion": "kfp-2.17.0",
        "pipelineInfo": {"name": name},
        "root": {
            "dag": {
                "tasks": {
                    "add": {
                        "componentRef": {"name": "comp-add"},
                        "taskInfo": {"name": "add"},
                        "inputs": {
                            "parameters": {
                                key: {"componentInputParameter": key} for key in ("a", "b")
                            }
                        },
                    }
                }
            },
            "inputDefinitions": {"parameters": inputs},
        },
        "components": {
            "comp-add": {
                "executorLabel": "exec-add",
                "inputDefinitions": {"parameters": inputs},
            }
        },
        "deploymentSpec": {
            "executors": {"exec-add": {"container": {"image": "python:3.11", "command": ["true"]}}}
        },
        **changes,
    }


def make_body(**changes: Any) -> dict[str, Any]:
    """A run's request."""
    return {
        "display_name": "my run",
        "pipeline_spec": make_ir(),
        "runtime_config": {"parameters": {"a": 1}},
        **changes,
    }
