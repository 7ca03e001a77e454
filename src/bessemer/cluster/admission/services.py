"""Addresses of Services: given at creation, kept for life. Source: pkg/registry/core/service."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import NamedTuple

from bessemer.kinds import meta, rules
from bessemer.kinds.kind import Kind, Object
from bessemer.kinds.service import SERVICE
from bessemer.kube.errors import InternalError, invalid

# The API server's own address is the first; the next few stay free for what comes.
_RESERVED = 10


class ServiceName(NamedTuple):
    """Which Service an address belongs to."""

    namespace: str
    name: str  # empty where the server is yet to make it from generateName


class Addresses:
    """Which loopback addresses Services hold.

    Args:
        network: "127.7.0.0/17".
        services: the Services as the writes on their way will leave them, so that no two of one
            moment get the same.
    """

    def __init__(self, network: str, services: Callable[[], Iterable[Object]]) -> None:
        self._network = ipaddress.ip_network(network)
        self._services = services
        self._next = _RESERVED

    def take(self) -> str:
        """A free address. Raises InternalError."""
        held = self._held()
        size = self._network.num_addresses
        for _ in range(size - _RESERVED - 1):
            address = str(self._network[self._next])
            self._next = self._next + 1 if self._next + 2 < size else _RESERVED
            if address not in held:
                return address
        raise InternalError(
            f"no address is free in {self._network}: {len(held)} Services hold them; delete some"
        )

    def refusal(self, address: str, owner: ServiceName) -> str:
        """Why the Service can't have that address; empty when it can."""
        try:
            inside = ipaddress.ip_address(address) in self._network
        except ValueError:
            return f"must be a valid IP address, (e.g. {self._network[_RESERVED]})"
        if not inside:
            return (
                f"provided IP is not in the valid range. The range of valid IPs is {self._network}"
            )
        if self._held().get(address, owner) != owner:
            return "provided IP is already allocated"
        return ""

    def _held(self) -> dict[str, ServiceName]:
        return {
            address: ServiceName(meta.namespace(service), meta.name(service))
            for service in self._services()
            if (address := meta.dig(service, "spec.clusterIP"))
        }


def admit_create(kind: Kind, obj: Object, addresses: Addresses) -> None:
    """Give a Service its address."""
    if kind is not SERVICE:
        return
    spec = obj["spec"]
    if spec.get("type") == "ExternalName":
        return
    address = spec.get("clusterIP")
    metadata = obj["metadata"]
    owner = ServiceName(metadata["namespace"], metadata.get("name", ""))
    if not address:
        spec["clusterIP"] = addresses.take()
    elif address != "None" and (why := addresses.refusal(address, owner)):
        cause = rules.bad("spec.clusterIPs", [address], f"failed to allocate IP {address}: {why}")
        raise invalid(kind, owner.name, [cause])
    spec["clusterIPs"] = [spec["clusterIP"]]


def admit_update(kind: Kind, new: Object, old: Object, addresses: Addresses) -> None:
    """Keep the address where an update says nothing about it."""
    if kind is not SERVICE:
        return
    spec, before = new["spec"], old["spec"]
    if spec.get("type") == "ExternalName":
        return
    for key in ("clusterIP", "clusterIPs"):
        if not spec.get(key) and before.get(key):
            spec[key] = before[key]
    admit_create(kind, new, addresses)
