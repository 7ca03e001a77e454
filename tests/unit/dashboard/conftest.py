"""The pages over a real database and folder, asked in-process."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from bessemer.artifacts.claim import ClaimStore
from bessemer.base.clock import SystemClock
from bessemer.dashboard.pages import Pages, Sources
from bessemer.dashboard.sessions import Sessions
from bessemer.database.database import Database
from bessemer.kinds.pod import POD
from bessemer.kube.access import Attributes, Decision, User
from bessemer.kube.client import ObjectList, Selection
from bessemer.kube.errors import not_found
from bessemer.pipelines.history import SqlHistory
from bessemer.pipelines.records import Run, RunState, Task
from bessemer.pipelines.run_catalog import RunCatalog
from bessemer.web import errors
from bessemer.web.guard import Guard

SITE = "http://127.0.0.1:8081"
NOW = datetime(2026, 11, 23, 18, 0, 0, tzinfo=UTC)


class FakeClock(SystemClock):
    """The machine's time, and what a test adds to it."""

    def __init__(self) -> None:
        self.later = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.later


class People:
    """Tokens are names; "admin" may all, "stranger" nothing."""

    def __init__(self) -> None:
        self.known = {"admin", "stranger"}

    async def authenticate(self, token: str) -> User | None:
        return User(token) if token in self.known else None

    async def authorize(self, user: User, attributes: Attributes) -> Decision:
        return Decision(user.name == "admin")


class Objects:
    """What the pages ask of a Kubernetes API: models by ``items``, and pods."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.pods: list[dict[str, Any]] = []

    async def list(self, kind: object, selection: Selection) -> ObjectList:
        return ObjectList(self.pods if kind is POD else self.items, "1")

    async def get(self, kind: object, name: str, namespace: str = "") -> dict[str, Any]:
        for pod in self.pods:
            if pod["metadata"]["name"] == name:
                return pod
        raise not_found(POD, name)


class Logs:
    def __init__(self) -> None:
        self.texts: dict[str, bytes] = {}  # by task or pod

    async def read(
        self, run: Run, task: Task, *, follow: bool = False, tail_lines: int | None = None
    ) -> AsyncIterator[bytes]:
        for key in (task.pod_name, task.id):
            if key in self.texts:
                yield self.texts[key]
                return
        raise errors.NotFound(f"task {task.id} has no log")

    async def forget(self, run_id: str) -> None:
        """Nothing is kept."""


@dataclass
class Site:
    http: httpx.AsyncClient
    history: SqlHistory
    volumes: Path
    people: People
    objects: Objects = field(default_factory=Objects)
    logs: Logs = field(default_factory=Logs)
    clock: FakeClock = field(default_factory=FakeClock)
    cookies: dict[str, str] = field(default_factory=dict)

    async def page(self, path: str, status: int = 200, user: str = "admin") -> str:
        answer = await self.get(path, user)
        assert answer.status_code == status, answer.text
        return answer.text

    async def get(self, path: str, user: str = "admin", **headers: str) -> httpx.Response:
        """As the browser of a user who is signed in."""
        if user not in self.cookies:
            self.cookies[user] = await self.sign_in(user)
        headers = {"Cookie": self.cookies[user], **headers}
        return await self.http.get(f"{SITE}{path}", headers=headers)

    async def sign_in(self, secret: str, onward: str = "/") -> str:
        """The cookie of a new session."""
        answer = await self.post("/login", {"secret": secret, "next": onward})
        assert answer.status_code == 303, answer.text
        return answer.headers["set-cookie"].partition(";")[0]

    async def post(
        self, path: str, form: dict[str, str], *, origin: str = SITE, **headers: str
    ) -> httpx.Response:
        """A form of a page of that origin."""
        sent = {"Origin": origin, **headers} if origin else headers
        answer = await self.http.post(f"{SITE}{path}", data=form, headers=sent)
        self.http.cookies.clear()  # whose request it is, each one says itself
        return answer

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
        await RunCatalog(self.history).create_run(run)
        return run


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    database = Database(f"sqlite:///{tmp_path}/history.db")
    await database.start()
    history, people, objects, logs = SqlHistory(database), People(), Objects(), Logs()
    volumes = tmp_path / "volumes"
    (volumes / "kubeflow" / "pipeline-artifacts").mkdir(parents=True)

    clock = FakeClock()
    store = ClaimStore(objects, clock, volumes)  # type: ignore[arg-type]  # two verbs
    sources = Sources(history, objects, logs, store)  # type: ignore[arg-type]  # two verbs
    guard = Guard(people, people)
    app = Pages(sources, guard, clock, Sessions(clock), ["pages.example"])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as http:
        yield Site(http, history, volumes, people, objects, logs, clock)
    await database.close()
