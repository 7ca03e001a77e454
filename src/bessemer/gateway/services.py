"""What a Service is told of its address: a condition where Envoy can't listen there. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from bessemer.gateway.plan import InUse
from bessemer.gateway.render import ServiceListener
from bessemer.kinds import meta
from bessemer.kinds.kind import Object

CONDITION = "bessemer.dev/AddressProgrammed"
_PRIVILEGED = 1024


def judge(
    service: Object, listeners: Iterable[ServiceListener], in_use: InUse, now: datetime
) -> Object | None:
    """The Service with what is true of its address now; None: it says so already.

    The condition is there only where there was a failure once: most Services have none. It is
    true only while Envoy itself has all of the Service's ports, for then nobody else has.
    """
    listeners = list(listeners)
    failures = [
        _explain(listener, in_use.refused[listener.name])
        for listener in listeners
        if listener.name in in_use.refused
    ]
    conditions = meta.dig(service, "status.conditions") or []
    old = meta.condition(service, CONDITION)
    if old is None and not failures:
        return None
    idle = [listener.name for listener in listeners if listener.name not in in_use.listeners]
    if failures:
        told = ("False", "PortNotBound", "; ".join(failures))
    elif idle or not listeners:
        told = ("False", "NoEndpoints", f"nothing is ready behind {', '.join(idle) or 'it'}")
    else:
        told = ("True", "Programmed", "the gateway listens on the Service's address")
    wanted = dict(zip(("status", "reason", "message"), told, strict=True)) | {"type": CONDITION}
    merged = meta.merge_conditions(conditions, [wanted], now)
    if merged == conditions:
        return None
    return {**service, "status": {**(service.get("status") or {}), "conditions": merged}}


def _explain(listener: ServiceListener, why: str) -> str:
    text = f"the gateway can't listen on {listener.name}: {why}"
    if listener.backend.port < _PRIVILEGED:
        return f"{text}; choose a port of {_PRIVILEGED} or more, smaller ones need root"
    return (
        f"{text}; a program outside of pods holds the port, perhaps on all addresses: "
        "stop it or have it bind an address of its own"
    )
