"""The service proxy: ``/api/v1/namespaces/<ns>/services/[scheme:]<name>[:port]/proxy/<path>``.

To an app in this process where one is known by that name, else by HTTP to the Service.
Source: pkg/registry/core/service/proxy, k8s.io/apimachinery pkg/util/proxy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from bessemer.base import lazily
from bessemer.cluster.apiserver.machine import Machine
from bessemer.cluster.apiserver.request import Answer, ApiRequest, AsgiApp
from bessemer.cluster.apiserver.routing import Route
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.service import SERVICE
from bessemer.kube.errors import BadRequest, ServiceUnavailable, not_found

if TYPE_CHECKING:
    from bessemer.cluster.apiserver import forwarding
else:  # an HTTP client is rarely needed here, and is a quarter of a second at start
    forwarding = lazily.module("bessemer.cluster.apiserver.forwarding")


class _Name(NamedTuple):
    scheme: str
    service: str
    port: str


def parse_name(text: str) -> _Name:
    """``[scheme:]name[:port]``. Raises BadRequest."""
    parts = text.split(":")
    if len(parts) < 3:
        return _Name("http", parts[0], parts[1] if len(parts) == 2 else "")
    if len(parts) == 3 and parts[0] in ("", "http", "https"):
        return _Name(parts[0] or "http", parts[1], parts[2])
    raise BadRequest(f"invalid service request {text!r}: write [scheme:]name[:port]")


class Proxy:
    """Passes requests on to Services.

    Args:
        apps: in-process services by (namespace, name).
    """

    def __init__(self, machine: Machine, apps: Mapping[tuple[str, str], AsgiApp]) -> None:
        self._machine = machine
        self._apps = apps
        self._forwarder: forwarding.Forwarder | None = None

    async def serve(self, exchange: ApiRequest, route: Route) -> Answer | None:
        """Pass the request on and its answer back."""
        name = parse_name(route.name)
        # kfp and old clients write a double slash after "proxy".
        path = "/" + route.rest.lstrip("/")
        app = self._apps.get((route.namespace, name.service))
        if app is not None:
            await app(exchange.rebase(path), exchange.receive, exchange.send)
            return None
        service = self._machine.lookup(SERVICE, route.namespace, name.service)
        if service is None:
            raise not_found(SERVICE, name.service)
        address = f"{name.scheme}://{meta.dig(service, 'spec.clusterIP')}:{_port(service, name)}"
        if self._forwarder is None:
            self._forwarder = forwarding.Forwarder()
        await self._forwarder.forward(exchange, address + quote(path))
        return None


def _port(service: Object, name: _Name) -> int:
    ports = service["spec"].get("ports") or []
    for entry in ports:
        if name.port in ("", entry.get("name", ""), str(entry["port"])):
            return int(entry["port"])
    raise ServiceUnavailable(
        f"no service port {name.port!r} found for service {meta.name(service)!r}"
    )
