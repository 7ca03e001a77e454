"""How many pods to make or end, and what the status says. Pure.

Source: k8s.io/kubernetes pkg/controller/replicaset.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from bessemer.cluster.controllers import victims
from bessemer.control import pods as podrules
from bessemer.kinds import meta
from bessemer.kinds.kind import Object

BURST = 500  # pods made or ended in one pass, as upstream


@dataclass(frozen=True)
class Scale:
    """What to do about the number of pods."""

    create: int = 0
    delete: tuple[Object, ...] = ()


def wanted(replicaset: Object) -> int:
    """spec.replicas; 1 where it is not said."""
    return int(meta.dig(replicaset, "spec.replicas", 1))


def scale(replicaset: Object, owned: Iterable[Object]) -> Scale:
    """The pods to make or end; none while the ReplicaSet itself is ending."""
    if meta.is_deleting(replicaset):
        return Scale()
    active = [pod for pod in owned if podrules.is_active(pod)]
    missing = wanted(replicaset) - len(active)
    if missing >= 0:
        return Scale(create=min(missing, BURST))
    return Scale(delete=tuple(victims.victims_first(active)[: min(-missing, BURST)]))


def status(replicaset: Object, owned: Iterable[Object], now: datetime, failure: str) -> Object:
    """The status as these pods make it; ``failure`` is why pods could not be made or ended."""
    owned = list(owned)
    active = [pod for pod in owned if podrules.is_active(pod)]
    template = meta.dig(replicaset, "spec.template.metadata.labels") or {}
    delay = int(meta.dig(replicaset, "spec.minReadySeconds", 0))
    result: Object = {
        "replicas": len(active),
        "observedGeneration": replicaset["metadata"].get("generation", 1),
    }
    counts = {
        "fullyLabeledReplicas": sum(template.items() <= meta.labels(p).items() for p in active),
        "readyReplicas": sum(podrules.is_ready(pod) for pod in active),
        "availableReplicas": sum(podrules.is_available(pod, delay, now) for pod in active),
        "terminatingReplicas": sum(
            meta.is_deleting(pod) and not podrules.is_finished(pod) for pod in owned
        ),
    }
    result |= {key: value for key, value in counts.items() if value}
    conditions = _conditions(replicaset, failure, now)
    if conditions:
        result["conditions"] = conditions
    return result


def _conditions(replicaset: Object, failure: str, now: datetime) -> list[Object]:
    current = list(meta.dig(replicaset, "status.conditions") or ())
    if not failure:
        return [entry for entry in current if entry["type"] != "ReplicaFailure"]
    wanted_ = {
        "type": "ReplicaFailure",
        "status": "True",
        "reason": "FailedCreate",
        "message": failure,
    }
    return meta.merge_conditions(current, [wanted_], now)


def look_again_after(replicaset: Object, owned: Iterable[Object], now: datetime) -> float | None:
    """Seconds until the next ready pod becomes available."""
    delay = int(meta.dig(replicaset, "spec.minReadySeconds", 0))
    if not delay:
        return None
    waits = [podrules.available_in(pod, delay, now) for pod in owned if podrules.is_active(pod)]
    future = [left for left in waits if left and left > 0]
    return max(min(future), 0.01) if future else None
