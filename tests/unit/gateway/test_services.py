"""What a Service is told of its address."""

from __future__ import annotations

from datetime import UTC, datetime

from bessemer.gateway import services
from bessemer.gateway.plan import InUse
from bessemer.gateway.render import Backend, ServiceListener
from bessemer.kinds import meta
from bessemer.kinds.kind import Object

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LISTENER = ServiceListener(Backend("a", "web", 8080), "127.9.0.10")
REFUSED = InUse("", {}, frozenset(), {LISTENER.name: "Address already in use"})
IDLE = InUse("", {})
HELD = InUse("", {}, frozenset({LISTENER.name}))


def told(service: Object, in_use: InUse) -> Object:
    return services.judge(service, [LISTENER], in_use, NOW) or service


def state(service: Object) -> tuple[str, str]:
    condition = meta.condition(service, services.CONDITION) or {}
    return condition.get("status", ""), condition.get("reason", "")


def test_without_a_failure_there_is_nothing_to_tell() -> None:
    service: Object = {"metadata": {"name": "web"}, "status": {}}

    assert services.judge(service, [LISTENER], HELD, NOW) is None
    assert services.judge(service, [LISTENER], IDLE, NOW) is None


def test_the_condition_is_true_only_while_envoy_has_the_port() -> None:
    failed = told({"metadata": {"name": "web"}, "status": {}}, REFUSED)
    assert state(failed) == ("False", "PortNotBound")

    idle = told(failed, IDLE)
    assert state(idle) == ("False", "NoEndpoints")

    held = told(idle, HELD)
    assert state(held) == ("True", "Programmed")
    assert services.judge(held, [LISTENER], HELD, NOW) is None
    assert state(told(held, IDLE)) == ("False", "NoEndpoints")
