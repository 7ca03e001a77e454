"""What all routes share: what they work with, specs in bodies, errors in KFP's own form."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from bessemer.base.clock import Clock
from bessemer.pipelines import v2beta1
from bessemer.pipelines.api.access import asked
from bessemer.pipelines.catalog import Catalog
from bessemer.pipelines.history import SqlHistory
from bessemer.pipelines.run_catalog import RunCatalog
from bessemer.pipelines.spec import InvalidArguments, InvalidSpec, Spec, load
from bessemer.pipelines.steplogs import StepLogs
from bessemer.pipelines.trial import Trial
from bessemer.pipelines.types import normalize
from bessemer.web.answers import ErrorAnswers
from bessemer.web.bodies import read_beside
from bessemer.web.errors import InvalidArgument, NotFound
from bessemer.web.guard import Guard
from bessemer.web.requests import params_of, user_of

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
        raise NotFound(
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
        await self.guard.check(user_of(request), asked(verb, resource, namespace))
        await self.cluster.check_namespace(namespace)

    async def admit(self, request: Request, verb: str, resource: str, namespace: str = "") -> str:
        """Let a request pass; the namespace that it is for: a thing's own, or the one it names.

        Raises:
            PermissionDenied: no rule allows it in that namespace.
            NotFound: the request names a namespace that is not there.
        """
        if namespace:
            await self.guard.check(user_of(request), asked(verb, resource, namespace))
            return namespace
        namespace = self.namespace_of(request)
        await self.check(request, verb, resource, namespace)
        return namespace

    def namespace_of(self, request: Request, given: str = "") -> str:
        """The namespace of a request: its body's, its query's, the proxy's, or the default one."""
        return (
            given
            or params_of(request).get("namespace", "")
            or request.scope.get(PROXIED)
            or self.cluster.namespace
        )


Handler = Callable[[Request], Awaitable[Response]]


async def load_spec(document: str | Mapping[str, Any]) -> Spec:
    """The pipeline in a document, read and checked off the event loop.

    Raises:
        InvalidSpec: it is none.
        InvalidArgument: it is nested too deeply to be one.
    """
    try:
        return await read_beside(_load, document)
    except RecursionError as error:
        raise InvalidArgument("a pipeline spec is never nested so deeply") from error


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


def _body(request: Request, code: int, message: str) -> Any:
    """An error as grpc-gateway (or, on upload and log routes, KFP's own handlers) write it."""
    path = request.url.path
    if "/pipelines/upload" in path or path.endswith("/log"):
        return {"error_message": message, "error_details": message}
    return v2beta1.error_body(code, message)


_INVALID = InvalidArgument.code
answer_error = ErrorAnswers(_body, {InvalidSpec: _INVALID, InvalidArguments: _INVALID})
