"""Subresources that are calls, not parts of the object: a pod's log, an account's token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from bessemer.base.clock import parse_time
from bessemer.cluster.apiserver.exchange import Answer, Exchange, answer_json
from bessemer.cluster.apiserver.machine import Machine
from bessemer.cluster.apiserver.reviews import Reviews
from bessemer.cluster.apiserver.routing import Route
from bessemer.cluster.node.logs import LogOptions, PodLogs
from bessemer.kube.client import PatchType
from bessemer.kube.errors import BadRequest, MethodNotAllowed, ServiceUnavailable, conflict
from bessemer.kube.requests import Target
from bessemer.resources import meta
from bessemer.resources.kind import Kind
from bessemer.resources.pod import POD

Act = Callable[[Exchange, Route], Awaitable[Answer | None]]


class Parts:
    """Serves them."""

    def __init__(self, machine: Machine, logs: PodLogs | None, reviews: Reviews) -> None:
        self._machine = machine
        self._logs = logs
        self._by_part: dict[tuple[str, str], Act] = {
            ("pods", "log"): self._log,
            ("pods", "binding"): self._bind,
            ("serviceaccounts", "token"): self._token,
        }
        self._reviews = reviews

    def find(self, kind: Kind, route: Route) -> Act | None:
        """What serves the route's subresource, if anything does."""
        return self._by_part.get((kind.resource, route.subresource))

    async def _token(self, exchange: Exchange, route: Route) -> Answer:
        _allow(exchange, "POST")
        return await self._reviews.request_token(exchange, route)

    async def _bind(self, exchange: Exchange, route: Route) -> Answer:
        _allow(exchange, "POST")
        binding = await exchange.read_object()
        node = meta.dig(binding, "target.name")
        if not isinstance(node, str) or not node:
            raise BadRequest("target.name: Required value: the node that the pod is to run on")
        target = Target(POD, route.namespace, route.name)
        pod = self._machine.get(target).object
        held = meta.dig(pod, "spec.nodeName")
        if held:
            raise conflict(
                POD, route.name, f"pod {route.name} is already assigned to node {held!r}"
            )
        version = pod["metadata"]["resourceVersion"]
        patch = {"metadata": {"resourceVersion": version}, "spec": {"nodeName": node}}
        await self._machine.patch(target, patch, PatchType.MERGE, exchange.user)
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return answer_json({**status, "code": 201}, 201)

    async def _log(self, exchange: Exchange, route: Route) -> None:
        _allow(exchange, "GET")
        pod = self._machine.get(Target(POD, route.namespace, route.name)).object
        if self._logs is None:
            raise ServiceUnavailable("no node agent runs here, so there are no logs to read")
        await exchange.read()
        pieces = self._logs.read(pod, _log_options(exchange))
        # Errors come with the first piece, while they can still be told by a status code.
        first = await anext(pieces, b"")
        await exchange.begin(b"text/plain")
        await exchange.write(first)
        await exchange.pipe(pieces)


def _allow(exchange: Exchange, method: str) -> None:
    if exchange.method != method:
        raise MethodNotAllowed("the server does not allow this method on the requested resource")


def _log_options(exchange: Exchange) -> LogOptions:
    query = exchange.query
    since = query.get("sinceTime")
    try:
        moment = parse_time(since) if since else None
    except ValueError as error:
        raise BadRequest(f"sinceTime: Invalid value: {error}") from error
    return LogOptions(
        container=query.get("container", ""),
        follow="follow" in query and exchange.flag("follow"),
        previous="previous" in query and exchange.flag("previous"),
        since=moment,
        tail_lines=exchange.number("tailLines"),
        limit_bytes=exchange.number("limitBytes"),
        timestamps="timestamps" in query and exchange.flag("timestamps"),
    )
