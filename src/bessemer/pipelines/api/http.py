"""Requests in, answers out: what all routes share. Errors become HTTP in one table, here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from bessemer.base import logs
from bessemer.base.clock import Clock
from bessemer.base.errors import BessemerError
from bessemer.database.errors import DatabaseError
from bessemer.kube.access import User
from bessemer.kube.errors import ApiError
from bessemer.pipelines import errors, v2beta1
from bessemer.pipelines.api.access import Guard
from bessemer.pipelines.catalog import Catalog
from bessemer.pipelines.history import SqlHistory
from bessemer.pipelines.run_catalog import RunCatalog
from bessemer.pipelines.spec import InvalidArguments, InvalidSpec, Spec, load
from bessemer.pipelines.steplogs import StepLogs
from bessemer.pipelines.trial import Trial
from bessemer.pipelines.types import normalize

_log = logs.get(__name__)

#: google.rpc.Code to HTTP, as grpc-gateway maps it; bytes over the limit are 413 as everywhere.
HTTP_STATUS: Mapping[int, int] = {
    3: 400,
    5: 404,
    6: 409,
    7: 403,
    8: 413,
    9: 400,
    10: 409,
    12: 501,
    13: 500,
    14: 503,
    16: 401,
}
T = TypeVar("T")
U = TypeVar("U")
_READER = ThreadPoolExecutor(1, "large-pipeline")
_SMALL = 256 * 1024  # bytes
_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 409: 6, 413: 8}


#: Of a request's scope: the namespace of the service proxy's path that it came by.
PROXIED = "bessemer.namespace"


@dataclass(frozen=True)
class Cluster:
    """The cluster whose runs these are.

    Attributes:
        namespace: of the requests that name none.
        trial: asks the cluster before a run is taken; None where there is none to ask.
        replica: the id of the engine that drives what is asked for here; empty: whichever finds
            it first.
    """

    namespace: str = "kubeflow"
    trial: Trial | None = None
    replica: str = ""

    async def check_namespace(self, name: str) -> None:
        """Let a namespace pass if it is there.

        Raises:
            NotFound: it is not.
        """
        if name == self.namespace or self.trial is None or await self.trial.has_namespace(name):
            return
        raise errors.NotFound(
            f"namespace {name!r} not found; create it, or name another (kfp.Client sends the one "
            "of its arguments, or of ~/.config/kfp/context.json)"
        )


@dataclass(frozen=True)
class RouteDependencies:
    """What the routes work with.

    Attributes:
        wake: called with a run's id when the engine should look at it.
    """

    history: SqlHistory
    runs: RunCatalog
    catalog: Catalog
    guard: Guard
    clock: Clock
    wake: Callable[[str], None]
    logs: StepLogs
    cluster: Cluster

    async def check(self, request: Request, verb: str, resource: str, namespace: str) -> None:
        """Let a request pass.

        Raises:
            PermissionDenied: no rule allows it in that namespace.
            NotFound: there is no such namespace.
        """
        await self.guard.check(user_of(request), verb, resource, namespace)
        await self.cluster.check_namespace(namespace)

    def namespace_of(self, request: Request, given: str = "") -> str:
        """The namespace of a request: its body's, its query's, the proxy's, or the default one."""
        return (
            given
            or params_of(request).get("namespace", "")
            or request.scope.get(PROXIED)
            or self.cluster.namespace
        )


Handler = Callable[[Request], Awaitable[Response]]


class JsonResponse(Response):
    """An answer as compact JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


def user_of(request: Request) -> User:
    """Who asks; the face put it there before any route ran."""
    user: User = request.scope["bessemer.user"]
    return user


def params_of(request: Request) -> dict[str, str]:
    """The query in snake_case; empty values are as good as absent."""
    return {_snake(key): value for key, value in request.query_params.items() if value}


def _snake(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)


async def read_json(request: Request) -> Any:
    """The body as JSON; an empty one is an empty object.

    Raises:
        InvalidArgument: it is no JSON.
    """
    body = await request.body()
    try:
        return orjson.loads(body or b"{}")
    except ValueError as error:
        raise errors.InvalidArgument(
            f"the request body must be JSON, but it is not: {error}"
        ) from error


async def read_beside(read: Callable[[T], U], given: T) -> U:
    """Read text or bytes off the event loop; large ones one by one.

    YAML takes many times its size while it is read.
    """
    if isinstance(given, str | bytes) and len(given) > _SMALL:
        return await asyncio.get_running_loop().run_in_executor(_READER, read, given)
    return await asyncio.to_thread(read, given)


async def load_spec(document: str | Mapping[str, Any]) -> Spec:
    """The pipeline in a document, read and checked off the event loop.

    Raises:
        InvalidSpec: it is none.
        InvalidArgument: it is nested too deeply to be one.
    """
    try:
        return await read_beside(_load, document)
    except RecursionError as error:
        raise errors.InvalidArgument("a pipeline spec is never nested so deeply") from error


def _load(document: str | Mapping[str, Any]) -> Spec:
    spec = load(document)
    if not isinstance(document, str):
        return spec
    # YAML has whole numbers beyond 64 bits, which can't be stored: floats, as upstream has them.
    return replace(
        spec,
        document=normalize(spec.document),
        platform_document=normalize(spec.platform_document),
    )


def to_code(error: Exception) -> tuple[int, str]:
    """An error's google.rpc.Code, and what to say; a bug of ours says nothing of its inside."""
    if isinstance(error, errors.PipelinesError):
        return error.code, str(error)
    if isinstance(error, InvalidSpec | InvalidArguments):
        return errors.InvalidArgument.code, str(error)
    if isinstance(error, HTTPException):
        return _CODES.get(error.status_code, 13), str(error.detail)
    if isinstance(error, ApiError):
        return _CODES.get(error.code, 13), error.message
    if isinstance(error, BessemerError):
        return (14 if isinstance(error, DatabaseError) else 13), str(error)
    return 13, "internal error: this is a bug of Bessemer; its log has the details"


async def answer_error(request: Request, error: Exception) -> Response:
    """The error as grpc-gateway (or, on upload and log routes, KFP's own handlers) write it."""
    code, message = to_code(error)
    if code in (13, 14):
        _log.error(
            "request failed",
            extra=logs.fields(method=request.method, path=request.url.path, reason=message),
            exc_info=error if code == 13 else None,  # a full disk is no bug: its reason is enough
        )
    status = HTTP_STATUS[code]
    if isinstance(error, HTTPException):
        status = error.status_code
    if _is_plain(request.url.path):
        body = {"error_message": message, "error_details": message}
        return JsonResponse(body, status)
    return JsonResponse(v2beta1.error_body(code, message), status)


def _is_plain(path: str) -> bool:
    return "/pipelines/upload" in path or path.endswith("/log")
