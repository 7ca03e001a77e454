"""Subresources that are calls, not parts of the object: a pod's log, an account's token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from bessemer.base.clock import Clock, later, parse_time
from bessemer.cluster.apiserver.machine import Machine
from bessemer.cluster.apiserver.request import Answer, ApiRequest, answer_json
from bessemer.cluster.apiserver.reviews import Reviews
from bessemer.cluster.apiserver.routing import Route
from bessemer.cluster.kubelet.logs.port import PodLogs
from bessemer.kinds import meta, rules
from bessemer.kinds.kind import Kind
from bessemer.kinds.pod import POD
from bessemer.kube.client import LogOptions, PatchType
from bessemer.kube.errors import (
    BadRequest,
    MethodNotAllowed,
    ServiceUnavailable,
    conflict,
    invalid,
)
from bessemer.kube.requests import Target

# What upstream names when it refuses a log's parameters (ValidatePodLogOptions).
_LOG_OPTIONS = Kind("", "v1", "PodLogOptions", "podlogoptions")
_STREAMS = ("exec", "attach", "portforward")
Act = Callable[[ApiRequest, Route], Awaitable[Answer | None]]


class Subresources:
    """Serves the subresources that are calls."""

    def __init__(
        self, machine: Machine, logs: PodLogs | None, reviews: Reviews, clock: Clock
    ) -> None:
        self._machine = machine
        self._clock = clock
        self._logs = logs
        self._by_part: dict[tuple[str, str], Act] = {
            ("pods", "log"): self._log,
            ("pods", "binding"): self._bind,
            ("serviceaccounts", "token"): self._token,
        }
        for part in _STREAMS:
            self._by_part["pods", part] = _refuse_stream
        self._reviews = reviews

    def find(self, kind: Kind, route: Route) -> Act | None:
        """What serves the route's subresource, if anything does."""
        return self._by_part.get((kind.resource, route.subresource))

    async def _token(self, exchange: ApiRequest, route: Route) -> Answer:
        _allow(exchange, "POST")
        return await self._reviews.request_token(exchange, route)

    async def _bind(self, exchange: ApiRequest, route: Route) -> Answer:
        _allow(exchange, "POST")
        binding = await exchange.read_object()
        dry_run = exchange.query.get("dryRun") == "All"
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
        await self._machine.patch(target, patch, PatchType.MERGE, exchange.user, dry_run=dry_run)
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return answer_json({**status, "code": 201}, 201)

    async def _log(self, exchange: ApiRequest, route: Route) -> None:
        _allow(exchange, "GET")
        pod = self._machine.get(Target(POD, route.namespace, route.name)).object
        if self._logs is None:
            raise ServiceUnavailable("no node agent runs here, so there are no logs to read")
        await exchange.read()
        pieces = self._logs.read(pod, _log_options(exchange, route.name, self._clock.now()))
        # Errors come with the first piece, while they can still be told by a status code.
        first = await anext(pieces, b"")
        await exchange.begin(b"text/plain")
        await exchange.write(first)
        await exchange.pipe(pieces)


async def _refuse_stream(exchange: ApiRequest, route: Route) -> Answer:
    await exchange.read()
    raise BadRequest(
        f"pods/{route.subresource} is not served on one machine yet, so kubectl exec, attach, cp "
        "and port-forward are not there; read logs with kubectl logs, and reach the pod's port "
        "by its IP or by a Service"
    )


def _allow(exchange: ApiRequest, method: str) -> None:
    if exchange.method != method:
        raise MethodNotAllowed("the server does not allow this method on the requested resource")


def _log_options(exchange: ApiRequest, pod: str, now: datetime) -> LogOptions:
    query = exchange.query
    tail_lines, limit_bytes = exchange.number("tailLines"), exchange.number("limitBytes")
    since, seconds = query.get("sinceTime"), exchange.number("sinceSeconds")
    causes = []
    if tail_lines is not None and tail_lines < 0:
        text = "must be greater than or equal to 0"
        causes.append(rules.bad("tailLines", tail_lines, text))
    if limit_bytes is not None and limit_bytes < 1:
        causes.append(rules.bad("limitBytes", limit_bytes, "must be greater than 0"))
    if seconds is not None and since:
        text = "at most one of `sinceTime` or `sinceSeconds` may be specified"
        causes.append(rules.forbidden("", text))
    elif seconds is not None and seconds < 1:
        causes.append(rules.bad("sinceSeconds", seconds, "must be greater than 0"))
    if causes:
        raise invalid(_LOG_OPTIONS, pod, causes)
    return LogOptions(
        container=query.get("container", ""),
        follow=exchange.flag("follow"),
        previous=exchange.flag("previous"),
        since=_since(since, seconds, now),
        tail_lines=tail_lines,
        limit_bytes=limit_bytes,
        timestamps=exchange.flag("timestamps"),
    )


def _since(since: str | None, seconds: int | None, now: datetime) -> datetime | None:
    if seconds is not None:
        return later(now, -seconds)
    try:
        return parse_time(since) if since else None
    except ValueError as error:
        raise BadRequest(f"sinceTime: Invalid value: {error}") from error
