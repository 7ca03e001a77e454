"""What is served, and who may see it."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote, urlencode

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bessemer.base.clock import Clock
from bessemer.base.errors import BessemerError
from bessemer.cluster.node.logs import LogPruned
from bessemer.dashboard import overview, run
from bessemer.dashboard.files import Unreadable, read_below
from bessemer.dashboard.frame import page
from bessemer.dashboard.html import Html, tag
from bessemer.kube.access import Attributes, User
from bessemer.kube.client import Client, Selection
from bessemer.kube.errors import ApiError, BadRequest
from bessemer.pipelines import history, listing
from bessemer.pipelines.api import Guard
from bessemer.pipelines.errors import (
    InvalidArgument,
    NotFound,
    PermissionDenied,
    PipelinesError,
    Unauthenticated,
)
from bessemer.pipelines.records import Artifact, Run, Task
from bessemer.pipelines.steplogs import StepLogs
from bessemer.resources import meta
from bessemer.resources.inferenceservice import INFERENCE_SERVICE
from bessemer.resources.kind import Object

_TAIL = 2000  # lines of a log
_TAIL_BYTES = 1 << 20  # of them, for a line may be of any length
_RUNS = 50  # on a page
_MAX_DIGITS = 9  # of a number in an address
# Runs that are not archived, as KFP's own pages list them.
_AT_HAND = (
    '{"predicates": [{"operation": "NOT_EQUALS", "key": "storage_state", '
    '"string_value": "ARCHIVED"}]}'
)

# Nothing from elsewhere, no script but our own line, no frame of ours in another site.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src {script}; img-src data:; "
    "frame-src 'self'; form-action 'self'; frame-ancestors 'self'; base-uri 'none'"
)
# A report of a user's step: it may run scripts and load pictures, in an origin of its own, which
# holds no cookie of ours and reads none of our pages.
_REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' https:; "
    "style-src 'unsafe-inline' https:; img-src data: blob: https:; font-src data: https:; "
    "frame-ancestors 'self'"
)
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class Sources:
    """What the pages read from.

    Attributes:
        volumes: the folder of the namespaces' volumes, where artifacts are files.
    """

    history: history.SqlHistory
    client: Client
    logs: StepLogs
    volumes: Path
    namespace: str = "kubeflow"


def build_pages(sources: Sources, guard: Guard, clock: Clock) -> ASGIApp:
    """The pages as an ASGI app."""
    return Pages(sources, guard, clock)


class Pages:
    """Lists, runs, logs, reports; every request is its token's user."""

    def __init__(self, sources: Sources, guard: Guard, clock: Clock) -> None:
        self._sources = sources
        self._guard = guard
        self._clock = clock
        one = "/runs/{id}"
        self._app = Starlette(
            routes=[
                Route("/", self.show_overview),
                # kfp.Client() without a host prints its links below this path.
                Route("/pipeline/", self.show_overview),
                Route(one, self.show_run),
                Route(one + "/tasks/{task}/log", self.show_log),
                Route(one + "/artifacts/{artifact}", self.show_artifact),
            ],
            exception_handlers={BessemerError: _show_error, HTTPException: _show_error},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request: who is it, then its page."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        app: ASGIApp = self._app
        try:
            if token := request.query_params.get("token", "").strip():
                await self._guard.recognize(token)
                app = _sign_in(request, token)
            else:
                token = request.cookies.get(_cookie_name(request), "")
                scope = {**scope, "bessemer.user": await self._guard.recognize(token)}
        except Unauthenticated:
            app = _refuse(request)
        await app(scope, receive, send)

    async def _may(self, request: Request, attributes: Attributes) -> bool:
        user: User = request.scope["bessemer.user"]
        return (await self._guard.authorizer.authorize(user, attributes)).allowed

    async def show_overview(self, request: Request) -> Response:
        """Runs and served models, as far as the user may see them."""
        nonce = secrets.token_urlsafe(12)
        content = overview.draw(
            await self._list_runs(request),
            await self._list_services(request),
            self._clock.now(),
            nonce,
        )
        return _answer(content, nonce=nonce)

    async def _list_runs(self, request: Request) -> history.RunPage | None:
        user, namespace = request.scope["bessemer.user"], self._sources.namespace
        try:
            await self._guard.check(user, "list", "runs", namespace)
        except PermissionDenied:
            return None
        params = {"sort_by": "created_at desc", "page_size": str(_RUNS), "filter": _AT_HAND}
        if token := request.query_params.get("page_token", ""):
            params["page_token"] = token
        query = listing.parse(params, history.RUN_FIELDS)
        return await self._sources.history.list_runs(query, namespace)

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
        await self._guard.check(request.scope["bessemer.user"], "get", "runs", namespace)
        if found is None:
            raise history.missing_run(id_)
        return found

    async def show_run(self, request: Request) -> Response:
        """One run."""
        found = await self._load(request)
        text = request.query_params.get("first", "0")
        if not text.isdecimal() or len(text) > _MAX_DIGITS:
            raise InvalidArgument(f"first must be the number of a task, but got {text[:80]!r}")
        draw = partial(run.draw, *found, self._clock.now(), first=int(text))
        return _answer(await asyncio.to_thread(draw))  # thousands of tasks take their time

    async def show_log(self, request: Request) -> Response:
        """The last lines of a task's log."""
        record, tasks, _ = await self._load(request)
        id_ = request.path_params["task"]
        task = next((task for task in tasks if task.id == id_), None)
        if task is None:
            raise NotFound(f"task {id_} of run {record.id} not found")
        end, is_cut = bytearray(), False
        try:
            async for piece in self._sources.logs.read(record, task, tail_lines=_TAIL):
                end += piece
                if len(end) > _TAIL_BYTES:
                    is_cut = True
                    del end[:-_TAIL_BYTES]
        except LogPruned as error:
            end += str(error).encode()
        except BadRequest:
            pass  # the container has not started yet
        text = end.decode(errors="replace")
        return _answer(run.draw_log(record, task, text, is_cut=is_cut))

    async def show_artifact(self, request: Request) -> Response:
        """An HTML or Markdown artifact, alone; a frame of the run's page shows it too."""
        record, _, artifacts = await self._load(request)
        id_ = request.path_params["artifact"]
        artifact = next((one for one in artifacts if one.id == id_), None)
        if artifact is None or artifact.type not in run.VIEWABLE:
            raise NotFound(
                f"artifact {id_} of run {record.id} is no HTML or Markdown, or not there"
            )
        root = self._sources.volumes / record.namespace
        data = await asyncio.to_thread(read_below, root, artifact.uri)
        media_type = "text/html" if artifact.type == "system.HTML" else "text/plain"
        headers = {**_HEADERS, "Content-Security-Policy": _REPORT_POLICY}
        return Response(data, media_type=f"{media_type}; charset=utf-8", headers=headers)


def _answer(content: Html, status: int = 200, *, nonce: str = "") -> Response:
    script = f"'nonce-{nonce}'" if nonce else "'none'"
    headers = {**_HEADERS, "Content-Security-Policy": _POLICY.format(script=script)}
    return HTMLResponse(content, status, headers)


def _cookie_name(request: Request) -> str:
    """One for each port: a browser sends a host's cookies to all its ports."""
    port = (request.scope.get("server") or ("", 0))[1]
    return f"bessemer-{port}"


def _own_path(request: Request) -> str:
    """The request's path as an address of this site, whatever it is made of."""
    return "/" + quote(request.scope["path"].lstrip("/"))


def _sign_in(request: Request, token: str) -> Response:
    """Keep the token in a cookie, and go on without it in the address.

    Not by a redirect: after one, a browser that came from another site would hold back a
    SameSite=Strict cookie.
    """
    rest = [(key, value) for key, value in request.query_params.multi_items() if key != "token"]
    target = _own_path(request) + (f"?{urlencode(rest)}" if rest else "")
    head = tag("head", tag("meta", http_equiv="refresh", content=f"0;url={target}"))
    body = tag("body", tag("a", "Go on", href=target))
    response = _answer(Html("<!doctype html>" + tag("html", head, body)))
    response.set_cookie(_cookie_name(request), token, httponly=True, samesite="strict")
    return response


def _refuse(request: Request) -> Response:
    field = tag("input", name="token", type="password", placeholder="token", autofocus="")
    button = tag("button", "Open")
    form = tag("form", field, " ", button, method="get", action=_own_path(request))
    words = tag(
        "p",
        "These pages need a token: the BESSEMER_TOKEN that ",
        tag("code", "bessemer env"),
        " prints. Put it here:",
    )
    content = page("Sign in", tag("section", tag("h1", "401: no valid token"), words, form))
    return _answer(content, 401)


async def _show_error(_request: Request, error: Exception) -> Response:
    status = 500
    if isinstance(error, HTTPException):
        status = error.status_code
    elif isinstance(error, PipelinesError):
        status = {3: 400, 5: 404, 7: 403}.get(error.code, 500)
    elif isinstance(error, ApiError):
        status = error.code
    elif isinstance(error, Unreadable):
        status = 404
    text = error.detail if isinstance(error, HTTPException) else str(error)
    content = page(f"{status}", tag("section", tag("h1", str(status)), tag("p", text)))
    return _answer(content, status)
