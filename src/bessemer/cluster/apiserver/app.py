"""The https face: who asks, may they, which verb, and how it went; everything else is beside.

Source: k8s.io/apiserver/pkg/server/config.go (the order of the chain), pkg/endpoints.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import orjson

from bessemer.base import logs
from bessemer.base.clock import Clock
from bessemer.base.logs import fields
from bessemer.cluster.apiserver import impersonation, routing, watching
from bessemer.cluster.apiserver.documents import Documents
from bessemer.cluster.apiserver.machine import Machine
from bessemer.cluster.apiserver.metrics import Metrics, RequestLabels
from bessemer.cluster.apiserver.proxy import Proxy
from bessemer.cluster.apiserver.rbac import Rbac, refusal
from bessemer.cluster.apiserver.request import (
    Answer,
    ApiRequest,
    AsgiApp,
    Receive,
    Scope,
    Send,
    answer_json,
    without_identity,
)
from bessemer.cluster.apiserver.reviews import Reviews
from bessemer.cluster.apiserver.routing import Route
from bessemer.cluster.apiserver.standing import Revoked, Standing
from bessemer.cluster.apiserver.subresources import Subresources
from bessemer.cluster.apiserver.tokens import TokenIssuer, Tokens
from bessemer.cluster.apiserver.verbs import Verbs
from bessemer.cluster.kubelet.logs.port import PodLogs
from bessemer.kinds.kind import Kind
from bessemer.kinds.namespace import NAMESPACE
from bessemer.kube import selectors
from bessemer.kube.access import Attributes, User
from bessemer.kube.client import Selection
from bessemer.kube.errors import (
    ApiError,
    BadRequest,
    Forbidden,
    InternalError,
    MethodNotAllowed,
    NotFound,
    Unauthorized,
)
from bessemer.kube.requests import Target

_log = logs.get(__name__)

# Asked for by probes, which have no token; they tell nothing but that we live.
_OPEN_PATHS = frozenset({"/healthz", "/livez", "/readyz", "/version", "/version/"})
# Subresources that may be streams; a watch of any kind is one.
_STAYING = frozenset({"log", "proxy"})
# What a client that reads nothing is given to hear that it must go.
_FAREWELL_SECONDS = 1.0
_METHODS = {
    "GET": ("get", "list", "watch"),
    "POST": ("create",),
    "PUT": ("update",),
    "PATCH": ("patch",),
    "DELETE": ("delete", "deletecollection"),
}


@dataclass(frozen=True)
class ApiServerConfig:
    """What the API server is made of.

    Attributes:
        logs: how ``pods/log`` is read; None where no node is.
        services: ASGI apps behind the service proxy, by (namespace, service).
        extra_routes: ASGI apps by path prefix ("/apis/v2beta1"); they check tokens themselves.
    """

    machine: Machine
    rbac: Rbac
    tokens: Tokens
    issuer: TokenIssuer
    clock: Clock
    logs: PodLogs | None = None
    services: Mapping[tuple[str, str], AsgiApp] = field(default_factory=dict)
    extra_routes: Mapping[str, AsgiApp] = field(default_factory=dict)


class ApiServer:
    """The ASGI app."""

    def __init__(self, parts: ApiServerConfig) -> None:
        self._machine = parts.machine
        self._rbac = parts.rbac
        self._tokens = parts.tokens
        self._clock = parts.clock
        self._extra = tuple(parts.extra_routes.items())
        self._verbs = Verbs(parts.machine, parts.rbac, parts.clock)
        self._reviews = Reviews(parts.tokens, parts.issuer, parts.rbac)
        self._parts = Subresources(parts.machine, parts.logs, self._reviews, parts.clock)
        self._proxy = Proxy(parts.machine, parts.services)
        self._documents = Documents(parts.machine)
        self._standing = Standing(parts.clock)
        self.metrics = Metrics()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await _serve_other(scope, receive, send)
            return
        path: str = scope["path"]
        for prefix, app in self._extra:
            if path.startswith(prefix):
                await app(without_identity(scope), receive, send)
                return
        exchange = ApiRequest(scope, receive, send)
        begin = self._clock.monotonic()
        labels = RequestLabels()
        try:
            route = routing.parse(path)
            labels, answer = await self._serve(exchange, route)
        except ApiError as error:
            answer = answer_json(error.to_status(), error.code)
        except Exception as error:  # noqa: BLE001 - a bug in one request must not end the others
            answer = _answer_bug(exchange, error)
        if answer is not None and exchange.is_begun:
            # It can't be taken back: the server cuts the connection, so that nobody takes it for
            # the whole.
            _log.warning("answer cut off", extra=fields(path=path, status=answer.status))
        elif answer is not None:
            await exchange.answer(answer)
        seconds = self._clock.monotonic() - begin
        self.metrics.count(labels, answer.status if answer else 200, seconds)

    async def _serve(
        self, exchange: ApiRequest, route: Route | None
    ) -> tuple[RequestLabels, Answer | None]:
        token = exchange.token
        if token is None and exchange.path in _OPEN_PATHS:
            return RequestLabels("get"), self._documents.serve(exchange)
        exchange.user = user = self._authenticate(exchange, token)
        if route is None:
            return await self._serve_path(exchange)
        query = exchange.scope["query_string"]
        watch = b"watch" in query and exchange.flag("watch")
        asked = routing.attributes(exchange.method, route, watch=watch)
        if not route.name and b"fieldSelector" in query:
            asked = _narrow(asked, exchange)
        decision = self._rbac.decide(user, asked)
        if not decision.allowed:
            raise forbidden(route, decision.reason)
        labels = RequestLabels(asked.verb, route.resource, route.subresource)
        if watch or route.subresource in _STAYING:
            return labels, await self._serve_standing(exchange, route, asked)
        return labels, await self._serve_resource(exchange, route, asked)

    def _authenticate(self, exchange: ApiRequest, token: str | None) -> User:
        """Whom the request acts as now. Raises Unauthorized, Forbidden, BadRequest."""
        user = self._tokens.identify(token) if token else None
        if user is None:
            raise Unauthorized("Unauthorized")
        return impersonation.resolve(exchange, user, self._rbac)

    async def _serve_standing(
        self, exchange: ApiRequest, route: Route, asked: Attributes
    ) -> Answer | None:
        token = exchange.token

        def may() -> bool:
            try:
                user = self._authenticate(exchange, token)
            except ApiError:
                return False
            return self._rbac.decide(user, asked).allowed

        try:
            return await self._standing.serve(self._serve_resource(exchange, route, asked), may)
        except Revoked:
            error = Unauthorized("Unauthorized: the right to this request was taken away")
            if not exchange.is_begun or route.subresource == "proxy":
                raise error from None
            async with asyncio.timeout(_FAREWELL_SECONDS):
                if asked.verb == "watch":
                    await exchange.write(watching.error_line(error))
                await exchange.end()
            return None

    async def _serve_path(self, exchange: ApiRequest) -> tuple[RequestLabels, Answer | None]:
        asked = Attributes(exchange.method.lower(), path=exchange.path)
        if not self._rbac.decide(exchange.user, asked).allowed:
            raise Forbidden(f"forbidden: {refusal(exchange.user, asked)}")
        if exchange.path == "/metrics":
            body, content_type = self.metrics.render()
            return RequestLabels("get"), Answer(body, content_type=content_type)
        return RequestLabels("get"), self._documents.serve(exchange)

    async def _serve_resource(
        self, exchange: ApiRequest, route: Route, asked: Attributes
    ) -> Answer | None:
        if self._reviews.knows(route):
            return await self._reviews.serve(exchange, route)
        kind = self._kind(route)
        if route.namespace and not kind.namespaced:
            # RBAC was asked for that namespace: the right to all in it is none to the cluster's.
            raise not_served()
        if route.subresource and route.subresource not in kind.subresources:
            if kind.resource == "services" and route.subresource == "proxy":
                return await self._proxy.serve(exchange, route)
            act = self._parts.find(kind, route)
            if act is not None:
                return await act(exchange, route)
            if not (kind.resource == "namespaces" and route.subresource == "finalize"):
                raise not_served()
        if asked.verb not in _METHODS.get(exchange.method, ()):
            raise _not_allowed()
        if kind.namespaced and not route.namespace and (route.name or asked.verb == "create"):
            raise not_served()
        if asked.verb == "deletecollection" and not route.namespace and _spans_namespaces(kind):
            raise _not_allowed()
        target = Target(kind, route.namespace, route.name, route.subresource)
        return await self._verbs.serve(exchange, asked.verb, target)

    def _kind(self, route: Route) -> Kind:
        kind = self._machine.registry.find(route.resource, route.version)
        if kind is None:
            raise not_served()
        is_proxied = kind.resource == "services" and route.subresource == "proxy"
        if route.rest and not is_proxied:
            raise not_served()
        return kind


def build_app(parts: ApiServerConfig) -> ApiServer:
    """The API server's face over what it stands on."""
    return ApiServer(parts)


def not_served() -> NotFound:
    """Upstream's words for a path that leads nowhere."""
    return NotFound("the server could not find the requested resource", {})


def _spans_namespaces(kind: Kind) -> bool:
    """Whether all its objects are several namespaces', which nobody deletes at once."""
    return kind.namespaced or kind is NAMESPACE


def _not_allowed() -> MethodNotAllowed:
    return MethodNotAllowed("the server does not allow this method on the requested resource")


def forbidden(route: Route, reason: str) -> Forbidden:
    """``pods "a" is forbidden: User "x" cannot …``."""
    name = f' "{route.name}"' if route.name else ""
    details = {"name": route.name, "group": route.group, "kind": route.plural}
    return Forbidden(f"{route.resource}{name} is forbidden: {reason}", details)


def _narrow(asked: Attributes, exchange: ApiRequest) -> Attributes:
    """A list or watch of one name alone is allowed by rules for that name.

    Source: k8s.io/apiserver pkg/endpoints/request/requestinfo.go.
    """
    name = selectors.named(Selection(fields=exchange.query.get("fieldSelector", "")))
    if not name or asked.verb not in ("list", "watch", "deletecollection"):
        return asked
    return replace(asked, name=name)


def _answer_bug(exchange: ApiRequest, error: Exception) -> Answer:
    # JSONEncodeError is but another name of TypeError, which any bug may be.
    if isinstance(error, orjson.JSONEncodeError) and "ecursion" in str(error):
        refusal_ = BadRequest(f"the object can't be written as JSON: {error}; flatten it")
        return answer_json(refusal_.to_status(), refusal_.code)
    _log.error(
        "request failed",
        extra=fields(method=exchange.method, path=exchange.path),
        exc_info=error,
    )
    found = InternalError(
        "Internal error occurred: the server has a bug; its log has the traceback"
    )
    return answer_json(found.to_status(), found.code)


async def _serve_other(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1002})
