"""What is served, and who may see it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from bessemer.artifacts.store import ArtifactError, ArtifactStore, NotReady, OpenArtifact
from bessemer.base.clock import Clock
from bessemer.base.errors import BessemerError
from bessemer.dashboard import overview, reports, run
from bessemer.dashboard.assets import PRIVATE
from bessemer.dashboard.attempts import NO_WAITS, Waits, find_waits, pod_names, why_it_waits
from bessemer.dashboard.entrance import Entrance, answer
from bessemer.dashboard.frame import Page, page
from bessemer.dashboard.html import tag
from bessemer.dashboard.sessions import Sessions
from bessemer.kinds import meta
from bessemer.kinds.inferenceservice import INFERENCE_SERVICE
from bessemer.kinds.kind import Object
from bessemer.kinds.pod import POD
from bessemer.kube.access import Attributes
from bessemer.kube.client import Client, Selection
from bessemer.kube.errors import ApiError, BadRequest
from bessemer.pipelines import listing, run_catalog
from bessemer.pipelines.api.access import asked
from bessemer.pipelines.history import SqlHistory
from bessemer.pipelines.pods import RUN_LABEL
from bessemer.pipelines.records import UNFINISHED, Artifact, Run, Task
from bessemer.pipelines.run_catalog import RunCatalog
from bessemer.pipelines.steplogs import StepLogs
from bessemer.web.answers import HTTP_STATUS
from bessemer.web.errors import (
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Refusal,
)
from bessemer.web.guard import Guard
from bessemer.web.requests import admit, user_of
from bessemer.web.streams import chain

_TAIL = 2000  # lines of a log
_TAIL_BYTES = 1 << 20  # of them, for a line may be of any length
_NOT_ENDED = "status.phase!=Succeeded,status.phase!=Failed"
_RUNS = 50  # on a page
_MAX_DIGITS = 9  # of a number in an address
# Runs that are not archived, as KFP's own pages list them.
_AT_HAND = (
    '{"predicates": [{"operation": "NOT_EQUALS", "key": "storage_state", '
    '"string_value": "ARCHIVED"}]}'
)


@dataclass(frozen=True)
class Sources:
    """What the pages read from."""

    history: SqlHistory
    client: Client
    logs: StepLogs
    artifacts: ArtifactStore
    namespace: str = "kubeflow"


class Pages:
    """Lists, runs, logs, reports; every request is its session's user.

    Args:
        sessions: who is signed in; whoever holds a token may add to them (``entrance``).
        hosts: names beside the loopback's by which browsers may ask.
    """

    def __init__(
        self,
        sources: Sources,
        guard: Guard,
        clock: Clock,
        sessions: Sessions,
        hosts: Collection[str] = (),
    ) -> None:
        self._sources = sources
        self._runs = RunCatalog(sources.history)
        self._guard = guard
        self._clock = clock
        self._entrance = Entrance(guard, sessions, hosts)
        one = "/runs/{id}"
        self._app = Starlette(
            routes=[
                Route("/", self.show_overview),
                # kfp.Client() without a host prints its links below this path.
                Route("/pipeline/", self.show_overview),
                Route(one, self.show_run),
                Route(one + "/tasks/{task}/log", self.show_log),
                Route(one + "/artifacts/{artifact}", self.show_artifact),
                Route(one + "/artifacts/{artifact}/file", self.download_artifact),
            ],
            exception_handlers={BessemerError: _show_error, HTTPException: _show_error},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request: who is it, then its page."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        found = await self._entrance.admit(Request(scope, receive))
        if isinstance(found, Response):
            await found(scope, receive, send)
            return
        user, viewer = found
        scope = {**scope, "bessemer.viewer": viewer}
        admit(scope, user)
        await self._app(scope, receive, send)

    async def _may(self, request: Request, attributes: Attributes) -> bool:
        return await self._guard.allows(user_of(request), attributes)

    async def show_overview(self, request: Request) -> Response:
        """Runs and served models, as far as the user may see them."""
        runs = await self._list_runs(request)
        waits = await self._find_waits(self._sources.namespace, *(runs.runs if runs else ()))
        content = overview.draw(runs, await self._list_services(request), self._clock.now(), waits)
        return _answer(request, content)

    async def _list_runs(self, request: Request) -> run_catalog.RunPage | None:
        namespace = self._sources.namespace
        try:
            await self._guard.check(user_of(request), asked("list", "runs", namespace))
        except PermissionDenied:
            return None
        params = {"sort_by": "created_at desc", "page_size": str(_RUNS), "filter": _AT_HAND}
        if token := request.query_params.get("page_token", ""):
            params["page_token"] = token
        query = listing.parse(params, run_catalog.RUN_FIELDS)
        return await self._runs.list_runs(query, namespace)

    async def _list_services(self, request: Request) -> list[Object] | None:
        for namespace in ("", self._sources.namespace):
            kind = INFERENCE_SERVICE
            wanted = Attributes("list", kind.group, kind.plural, namespace=namespace)
            if await self._may(request, wanted):
                found = await self._sources.client.list(kind, Selection(namespace))
                return sorted(found.items, key=lambda one: (meta.namespace(one), meta.name(one)))
        return None

    async def _load(self, request: Request) -> tuple[Run, list[Task], list[Artifact]]:
        id_ = request.path_params["id"]
        found = await self._sources.history.load_run(id_)
        namespace = found[0].namespace if found else self._sources.namespace
        await self._guard.check(user_of(request), asked("get", "runs", namespace))
        if found is None:
            raise run_catalog.missing_run(id_)
        return found

    async def show_run(self, request: Request) -> Response:
        """One run."""
        found = await self._load(request)
        text = request.query_params.get("first", "0")
        if not text.isdecimal() or len(text) > _MAX_DIGITS:
            raise InvalidArgument(f"first must be the number of a task, but got {text[:80]!r}")
        record = found[0]
        waits = (await self._find_waits(record.namespace, record)).get(record.id, NO_WAITS)
        draw = partial(run.draw, *found, self._clock.now(), first=int(text), waits=waits)
        # Thousands of tasks take their time.
        return _answer(request, await asyncio.to_thread(draw))

    async def _find_waits(self, namespace: str, *records: Run) -> dict[str, Waits]:
        """Why runs and their tasks wait, as their pods say, by run."""
        going = [record.id for record in records if record.state in UNFINISHED]
        if not going:
            return {}
        labels = f"{RUN_LABEL}={going[0]}" if len(going) == 1 else RUN_LABEL
        found = await self._sources.client.list(POD, Selection(namespace, labels, _NOT_ENDED))
        return find_waits(found.items)

    async def show_log(self, request: Request) -> Response:
        """The last lines of an attempt's log; with ``download``, all of it as a file."""
        record, tasks, _ = await self._load(request)
        id_ = request.path_params["task"]
        task = next((task for task in tasks if task.id == id_), None)
        if task is None:
            raise NotFound(f"task {id_} of run {record.id} not found")
        names = pod_names(tasks, task)
        number = _read_attempt(request, len(names))
        asked = replace(task, pod_name=names[number - 1]) if names else task
        if request.query_params.get("download"):
            return await self._send_log(record, asked, number)
        text, is_cut = await self._read_end(record, asked)
        missing = "" if text else await self._why_no_log(record, asked)
        log = run.Log(text, (number, max(len(names), 1)), is_cut, missing)
        return _answer(request, run.draw_log(record, task, log))

    async def _read_end(self, record: Run, task: Task) -> tuple[str, bool]:
        """The log's last lines, and whether there is more; "" when there is none."""
        end, is_cut = bytearray(), False
        try:
            async for piece in self._sources.logs.read(record, task, tail_lines=_TAIL + 1):
                end += piece
                if len(end) > _TAIL_BYTES:
                    is_cut = True
                    del end[:-_TAIL_BYTES]
        except (BadRequest, NotFound):
            return "", False  # it has not started yet, or is gone
        lines = end.count(b"\n", 0, -1) + 1
        if lines > _TAIL:
            is_cut = True
            del end[: end.index(b"\n") + 1]
        return end.decode(errors="replace"), is_cut

    async def _why_no_log(self, record: Run, task: Task) -> str:
        """Why nothing is shown of a log: it waits, it said nothing, or the log is gone."""
        try:
            pod = await self._sources.client.get(POD, task.pod_name, record.namespace)
        except ApiError:
            pod = None
        if pod is not None and (why := why_it_waits(pod)):
            return f"Not started yet: {why}"
        try:
            async for _ in self._sources.logs.read(record, task, tail_lines=1):
                break
        except (BadRequest, NotFound):
            if task.finished_at is None and record.state in UNFINISHED:
                return "Not started yet."
            return (
                "This log is no longer kept: it was pruned, or the pod was deleted before its log "
                "could be copied."
            )
        return "Nothing yet." if task.finished_at is None else "It said nothing."

    async def _send_log(self, record: Run, task: Task, number: int) -> Response:
        try:
            pieces = self._sources.logs.read(record, task)
            first = await anext(pieces, b"")
        except BadRequest as error:
            raise NotFound(f"task {task.id} has no log yet: {error}") from error
        name = f"{task.pod_name or task.id}.{number}.log"
        headers = {**PRIVATE, "Content-Disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(chain(first, pieces), headers=headers, media_type="text/plain")

    async def _open(self, request: Request) -> tuple[Artifact, OpenArtifact]:
        record, _, artifacts = await self._load(request)
        id_ = request.path_params["artifact"]
        artifact = next((one for one in artifacts if one.id == id_), None)
        if artifact is None:
            raise NotFound(f"artifact {id_} of run {record.id} not found")
        return artifact, await self._sources.artifacts.open(record.namespace, artifact.uri)

    async def show_artifact(self, request: Request) -> Response:
        """An HTML or Markdown artifact, alone; a frame of the run's page shows it too."""
        artifact, file = await self._open(request)
        if artifact.type not in reports.VIEWABLE:
            file.close()
            raise NotFound(f"artifact {artifact.id} is no HTML or Markdown, but {artifact.type}")
        return await reports.show(artifact, file)

    async def download_artifact(self, request: Request) -> Response:
        """An artifact's file, whole or the part that a Range header asks for."""
        artifact, file = await self._open(request)
        return reports.download(artifact, file, request.headers.get("range", ""))


def _read_attempt(request: Request, count: int) -> int:
    text = request.query_params.get("attempt", "") or str(max(count, 1))
    if not text.isdecimal() or len(text) > _MAX_DIGITS or not 1 <= int(text) <= max(count, 1):
        raise InvalidArgument(
            f"attempt must be a number from 1 to {max(count, 1)}, but got {text[:80]!r}"
        )
    return int(text)


def _answer(request: Request, content: Page, status: int = 200) -> Response:
    return answer(content, status, viewer=request.scope.get("bessemer.viewer"))


async def _show_error(request: Request, error: Exception) -> Response:
    status = 500
    if isinstance(error, HTTPException):
        status = error.status_code
    elif isinstance(error, Refusal):
        status = HTTP_STATUS[error.code]
    elif isinstance(error, ApiError):
        status = error.code
    elif isinstance(error, ArtifactError | NotReady):
        status = 404
    text = error.detail if isinstance(error, HTTPException) else str(error)
    back = tag("p", tag("a", "All runs and models", href="/"))
    content = page(f"{status}", tag("section", tag("h1", str(status)), tag("p", text), back))
    return _answer(request, content, status)
