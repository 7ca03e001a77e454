"""The whole face as one ASGI app, under every path that official clients use.

KFP's own: ``/apis/v2beta1/…``; behind an ingress: ``/pipeline/apis/v2beta1/…``; through the API
server's service proxy, as ``kfp.Client()`` without arguments goes:
``/api/v1/namespaces/<ns>/services/[http:]ml-pipeline[:8888|:http]/proxy/[/]apis/v2beta1/…``,
where <ns> is the namespace of requests that name no other: ``kfp.Client(namespace=…)`` puts its
own there.
The logs of steps are also where v1 had them, ``/apis/v1alpha1/runs/<run>/nodes/<node>/log``.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from bessemer.base.clock import Clock
from bessemer.base.errors import BessemerError
from bessemer.database.database import Database
from bessemer.pipelines import uploads
from bessemer.pipelines.api.artifacts import Artifacts
from bessemer.pipelines.api.experiments import Experiments
from bessemer.pipelines.api.http import (
    PROXIED,
    Cluster,
    RouteDependencies,
    answer_error,
)
from bessemer.pipelines.api.pipelines import Pipelines
from bessemer.pipelines.api.runs import Runs
from bessemer.pipelines.catalog import Catalog
from bessemer.pipelines.history import SqlHistory
from bessemer.pipelines.run_catalog import RunCatalog
from bessemer.pipelines.steplogs import StepLogs
from bessemer.web.answers import JsonResponse
from bessemer.web.bodies import Limited
from bessemer.web.errors import Refusal, Unimplemented
from bessemer.web.guard import Guard
from bessemer.web.requests import admit

_PREFIX = re.compile(
    r"^(?:/pipeline"
    r"|/api/v1/namespaces/(?P<namespace>[^/]+)/services/(?:https?:)?ml-pipeline(?::[a-z0-9-]+)?/proxy/?"
    r")?(?=/apis/v(?:2beta1|1alpha1)/)"
)
# A file of the greatest size, and the multipart frame around it.
_MAX_BODY = uploads.MAX_BYTES + (1 << 20)
_CURE = "pass existing_token to kfp.Client, or the header 'Authorization: Bearer <token>'"


class PipelinesApi:
    """The ASGI app; ``matches`` tells whether a path is one of its own."""

    def __init__(self, services: RouteDependencies) -> None:
        self._guard = services.guard
        runs = Runs(services)
        v2 = [
            Route("/healthz", _get_health, methods=["GET"]),
            *Experiments(services).routes(),
            *Pipelines(services).routes(),
            *runs.routes(),
            *Artifacts(services).routes(),
            Route("/recurringruns", _refuse_recurring, methods=["GET", "POST"]),
            Route(
                "/recurringruns/{rest:path}", _refuse_recurring, methods=["GET", "POST", "DELETE"]
            ),
        ]
        v1 = [Route("/runs/{id}/nodes/{node}/log", runs.log, methods=["GET"])]
        self._app = Starlette(
            routes=[Mount("/apis/v2beta1", routes=v2), Mount("/apis/v1alpha1", routes=v1)],
            exception_handlers={
                BessemerError: answer_error,
                HTTPException: answer_error,
                Exception: answer_error,
            },
        )

    @staticmethod
    def matches(path: str) -> bool:
        """Whether a request of that path is for this app."""
        return _PREFIX.match(path) is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request: who is it, then its route."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        found = _PREFIX.match(scope["path"])
        path = scope["path"][found.end() :] if found else scope["path"]
        proxied = (found and found["namespace"]) or ""
        scope = {**scope, "path": path, "raw_path": path.encode(), "root_path": ""}
        scope[PROXIED] = proxied
        request = Request(scope)
        try:
            admit(scope, await self._guard.identify(request, _CURE))
        except Refusal as error:
            response = await answer_error(request, error)
            await response(scope, receive, send)
            return
        await self._app(scope, Limited(receive, _MAX_BODY), send)


async def _get_health(request: Request) -> Response:
    """What kfp.Client asks first."""
    return JsonResponse({"multi_user": False, "pipeline_store": "database"})


async def _refuse_recurring(request: Request) -> Response:
    raise Unimplemented("recurring runs are not there yet; start runs one by one")


def build_api(
    database: Database,
    guard: Guard,
    clock: Clock,
    wake: Callable[[str], None],
    logs: StepLogs,
    cluster: Cluster | None = None,
) -> PipelinesApi:
    """The face over a started database.

    ``wake`` is called with the id of a run that was created, terminated, retried or deleted. The
    mode is single-user as clients see it; unlike upstream in that mode, a namespace that a request
    names is the one that it is for, and RBAC is asked there.
    """
    history = SqlHistory(database)
    services = RouteDependencies(
        history,
        RunCatalog(history),
        Catalog(database),
        guard,
        clock,
        wake,
        logs,
        cluster or Cluster(),
    )
    return PipelinesApi(services)
