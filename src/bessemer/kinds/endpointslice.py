"""EndpointSlice: the pods behind a Service.

Source: pkg/apis/discovery/validation.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any

from bessemer.kinds import columns, rules
from bessemer.kinds.kind import Cause, Column, Kind, Object

_TYPES = ("FQDN", "IPv4", "IPv6")
# Upstream's, and of ports as many as a Service here may have.
_MOST_ENDPOINTS, _MOST_ADDRESSES, _MOST_PORTS = 1000, 100, 128
_FAMILIES: Mapping[str, Callable[[str], object]] = {
    "IPv4": ipaddress.IPv4Address,
    "IPv6": ipaddress.IPv6Address,
}


def _default(obj: Object) -> None:
    obj.setdefault("endpoints", [])
    for port in obj.get("ports") or ():
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")


def _validate(new: Object, _old: Object | None) -> list[Cause]:
    causes: list[Cause] = []
    for field, most in (("endpoints", _MOST_ENDPOINTS), ("ports", _MOST_PORTS)):
        if len(new.get(field) or ()) > most:
            return [rules.too_many(field, len(new[field]), most)]
    if new.get("addressType"):
        causes += rules.one_of("addressType", new["addressType"], _TYPES)
    for index, endpoint in enumerate(new["endpoints"]):
        count = len(endpoint.get("addresses") or ())
        if count > _MOST_ADDRESSES:
            path = f"endpoints[{index}].addresses"
            causes.append(rules.too_many(path, count, _MOST_ADDRESSES))
            continue
        if not count:
            text = "must contain at least 1 address"
            causes.append(rules.required(f"endpoints[{index}].addresses", text))
        causes += [
            rules.bad(
                f"endpoints[{index}].addresses[{number}]",
                address,
                f"must be a valid {new['addressType']} address",
            )
            for number, address in enumerate(endpoint.get("addresses") or ())
            if not _is_of(address, new.get("addressType"))
        ]
    return causes


def _is_of(address: str, type_: Any) -> bool:
    try:
        _FAMILIES.get(type_, str)(address)
    except ValueError:
        return False
    return True


def _ports(obj: Object) -> str:
    ports = [str(port.get("port", "*")) for port in obj.get("ports") or ()]
    return columns.join(ports) if ports else "<unset>"


def _endpoints(obj: Object) -> str:
    found = [address for entry in obj.get("endpoints") or () for address in entry["addresses"]]
    shown = columns.join(found[:3]) if found else "<unset>"
    return f"{shown} + {len(found) - 3} more..." if len(found) > 3 else shown


#: The label of a slice that names its Service.
SERVICE_NAME = "kubernetes.io/service-name"

ENDPOINT_SLICE = Kind(
    "discovery.k8s.io",
    "v1",
    "EndpointSlice",
    "endpointslices",
    singular="endpointslice",
    schema="discovery.v1.EndpointSlice",
    default=_default,
    validate=_validate,
    columns=(
        columns.NAME,
        Column("AddressType", columns.path("addressType")),
        Column("Ports", _ports),
        Column("Endpoints", _endpoints),
        columns.AGE,
    ),
)
