"""The pages over a real database and folder, asked in-process."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from bessemer.base.clock import SystemClock
from bessemer.dashboard.pages import Sources, build_pages
from bessemer.database.database import Database
from bessemer.kube.access import Attributes, Decision, User
from bessemer.kube.client import ObjectList, Selection
from bessemer.pipelines import errors
from bessemer.pipelines.api import Guard
from bessemer.pipelines.history import SqlHistory
from bessemer.pipelines.records import Run, RunState, Task

NOW = datetime(2026, 11, 23, 18, 0, 0, tzinfo=UTC)


class People:
    """Tokens are names; "admin" may all, "stranger" nothing."""

    async def authenticate(self, token: str) -> User | None:
        return User(token) if token in ("admin", "stranger") else None

    async def authorize(self, user: User, attributes: Attributes) -> Decision:
        return Decision(user.name == "admin")


class Objects:
    """The one verb that the pages ask of a Kubernetes API."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []

    async def list(self, kind: object, selection: Selection) -> ObjectList:
        return ObjectList(self.items, "1")


class Logs:
    def __init__(self) -> None:
        self.texts: dict[str, bytes] = {}

    async def read(
        self, run: Run, task: Task, *, follow: bool = False, tail_lines: int | None = None
    ) -> AsyncIterator[bytes]:
        if task.id not in self.texts:
            raise errors.NotFound(f"task {task.id} has no log")
        yield self.texts[task.id]

    async def forget(self, run_id: str) -> None:
        """Nothing is kept."""


@dataclass
class Site:
    http: httpx.AsyncClient
    history: SqlHistory
    volumes: Path
    objects: Objects = field(default_factory=Objects)
    logs: Logs = field(default_factory=Logs)

    async def page(self, path: str, status: int = 200, user: str = "admin") -> str:
        headers = {"Cookie": f"bessemer-8081={user}"}
        answer = await self.http.get(f"http://test:8081{path}", headers=headers)
        assert answer.status_code == status, answer.text
        return answer.text

    async def add_run(self, id_: str, **fields: Any) -> Run:
        values: dict[str, Any] = {
            "namespace": "kubeflow",
            "display_name": f"run {id_}",
            "spec": {"pipelineInfo": {"name": "adder"}},
            "platform_spec": {},
            "parameters": {},
            "state": RunState.SUCCEEDED,
            "created_at": NOW,
            "finished_at": fields.get("created_at", NOW) + timedelta(seconds=75),
            **fields,
        }
        run = Run(id=id_, **values)
        await self.history.create_run(run)
        return run


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    database = Database(f"sqlite:///{tmp_path}/history.db")
    await database.start()
    history, people, objects, logs = SqlHistory(database), People(), Objects(), Logs()
    volumes = tmp_path / "volumes"
    (volumes / "kubeflow" / "pipeline-artifacts").mkdir(parents=True)
    sources = Sources(history, objects, logs, volumes)  # type: ignore[arg-type]  # list alone
    app = build_pages(sources, Guard(people, people), SystemClock())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as http:
        yield Site(http, history, volumes, objects, logs)
    await database.close()
