"""Service: one address before many pods."""

from __future__ import annotations

from typing import Any

from bessemer.kinds import columns, meta, rules
from bessemer.kinds.kind import Cause, Column, Kind, Object

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer")
# Each is a listener of the gateway, and each endpoint is behind each of them.
_MOST_PORTS = 128


def _default(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("sessionAffinity", "None")
    if spec["sessionAffinity"] == "ClientIP":
        client = spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {})
        client.setdefault("timeoutSeconds", 10800)
    spec.setdefault("type", "ClusterIP")
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port.get("port")
    if spec["type"] != "ExternalName":
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
        spec.setdefault("internalTrafficPolicy", "Cluster")
    obj.setdefault("status", {}).setdefault("loadBalancer", {})


def _validate(new: Object, old: Object | None) -> list[Cause]:
    spec = new["spec"]
    causes = rules.one_of("spec.type", spec["type"], _TYPES)
    causes += rules.one_of("spec.sessionAffinity", spec["sessionAffinity"], ("ClientIP", "None"))
    causes += rules.labels("spec.selector", spec.get("selector") or {})
    ports = spec.get("ports") or ()
    if spec["type"] == "ExternalName":
        if not spec.get("externalName"):
            causes.append(rules.required("spec.externalName"))
    elif not ports and spec.get("clusterIP") != "None":
        causes.append(rules.required("spec.ports"))
    causes += _check_ports(ports)
    return causes + (_check_address(spec, old["spec"]) if old is not None else [])


def _check_ports(ports: Any) -> list[Cause]:
    if len(ports) > _MOST_PORTS:
        return [rules.too_many("spec.ports", len(ports), _MOST_PORTS)]
    causes: list[Cause] = []
    names: set[str] = set()
    places: set[tuple[Any, Any]] = set()
    for index, port in enumerate(ports):
        path = f"spec.ports[{index}]"
        name = port.get("name", "")
        if not name and len(ports) > 1:
            causes.append(rules.required(f"{path}.name"))
        elif name:
            causes += rules.label(f"{path}.name", name)
            if name in names:
                causes.append(rules.duplicate(f"{path}.name", name))
        names.add(name)
        causes += rules.port_number(f"{path}.port", port.get("port"))
        causes += rules.one_of(f"{path}.protocol", port.get("protocol"), rules.PROTOCOLS)
        target = port.get("targetPort")
        check = rules.port_name if isinstance(target, str) else rules.port_number
        causes += check(f"{path}.targetPort", target)
        place = (port.get("protocol"), port.get("port"))
        if place in places:
            shown = {"port": place[1], "protocol": place[0]}
            causes.append(rules.duplicate(path, shown))
        places.add(place)
    return causes


def _check_address(spec: Object, old: Object) -> list[Cause]:
    held = old.get("clusterIP")
    if held and spec["type"] != "ExternalName" and spec.get("clusterIP") != held:
        value = spec.get("clusterIPs") or [spec.get("clusterIP")]
        return [rules.bad("spec.clusterIPs[0]", value, "may not change once set")]
    return []


def _ports(obj: Object) -> str:
    return columns.join(
        f"{port['port']}/{port.get('protocol', 'TCP')}" for port in obj["spec"].get("ports") or ()
    )


def _external(obj: Object) -> str:
    spec = obj["spec"]
    if spec["type"] == "ExternalName":
        return str(spec.get("externalName"))
    if spec["type"] != "LoadBalancer":
        return columns.join(spec.get("externalIPs") or ())
    found = meta.dig(obj, "status.loadBalancer.ingress") or ()
    return ",".join(entry.get("ip") or entry.get("hostname", "") for entry in found) or "<pending>"


SERVICE = Kind(
    "",
    "v1",
    "Service",
    "services",
    singular="service",
    short_names=("svc",),
    categories=("all",),
    subresources=frozenset({"status"}),
    schema="core.v1.Service",
    default=_default,
    validate=_validate,
    fields={"spec.clusterIP": "spec.clusterIP", "spec.type": "spec.type"},
    columns=(
        columns.NAME,
        Column("Type", columns.path("spec.type")),
        Column("Cluster-IP", columns.path("spec.clusterIP")),
        Column("External-IP", _external),
        Column("Port(s)", _ports),
        columns.AGE,
        Column("Selector", lambda obj: columns.labels(obj["spec"].get("selector")), priority=1),
    ),
)
