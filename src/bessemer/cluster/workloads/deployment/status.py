"""What a Deployment's status says of its ReplicaSets. Pure.

Source: k8s.io/kubernetes pkg/controller/deployment/progress.go and sync.go.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from bessemer.base.clock import format_time, parse_time
from bessemer.cluster.workloads.deployment import plan
from bessemer.resources import meta
from bessemer.resources.kind import Object


@dataclass(frozen=True)
class Outcome:
    """The status to write, and when to look again (a deadline may pass)."""

    status: Object
    look_again_after: float | None


def make(observed: plan.Observed, now: datetime) -> Outcome:
    """The status as the ReplicaSets make it."""
    deployment, current = observed.deployment, observed.current
    result: Object = {"observedGeneration": deployment["metadata"].get("generation", 1)}
    total = sum(plan.counted(entry, "replicas") for entry in observed.sets)
    available = sum(plan.counted(entry, "availableReplicas") for entry in observed.sets)
    wanted = sum(plan.replicas(entry) for entry in observed.sets)
    counts = {
        "replicas": total,
        "updatedReplicas": plan.counted(current, "replicas") if current else 0,
        "readyReplicas": sum(plan.counted(entry, "readyReplicas") for entry in observed.sets),
        "availableReplicas": available,
        "unavailableReplicas": max(0, max(wanted, plan.replicas(deployment)) - available),
        "terminatingReplicas": sum(
            plan.counted(entry, "terminatingReplicas") for entry in observed.sets
        ),
        "collisionCount": plan.counted(deployment, "collisionCount"),
    }
    result |= {key: value for key, value in counts.items() if value}
    progress, again = _progress(observed, result, now)
    conditions = [_available(deployment, available), *progress, *_failures(observed)]
    current_conditions = [
        entry
        for entry in meta.dig(deployment, "status.conditions") or ()
        if entry["type"] != "ReplicaFailure"
    ]
    result["conditions"] = _merge(current_conditions, conditions, now)
    return Outcome(result, again)


def is_complete(deployment: Object, status: Object) -> bool:
    """Whether every wanted pod is new and available, and no old one is left."""
    total = plan.replicas(deployment)
    return all(
        status.get(key, 0) == total for key in ("updatedReplicas", "replicas", "availableReplicas")
    )


def _available(deployment: Object, available: int) -> Object:
    if available >= plan.replicas(deployment) - plan.limits(deployment).unavailable:
        return _condition(
            "Available",
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        )
    return _condition(
        "Available",
        "False",
        "MinimumReplicasUnavailable",
        "Deployment does not have minimum availability.",
    )


def _progress(
    observed: plan.Observed, status: Object, now: datetime
) -> tuple[list[Object], float | None]:
    """The Progressing condition, if there is one, and when its deadline comes."""
    deployment, current = observed.deployment, observed.current
    old = meta.condition(deployment, "Progressing")
    if plan.is_paused(deployment):
        text = "Deployment is paused"
        return [_condition("Progressing", "Unknown", "DeploymentPaused", text)], None
    if current is None:
        return [], None
    name = meta.name(current)
    if is_complete(deployment, status):
        text = f'ReplicaSet "{name}" has successfully progressed.'
        return [_condition("Progressing", "True", "NewReplicaSetAvailable", text)], None
    if old is None or name not in old.get("message", ""):
        text = f'Created new replica set "{name}"'
        return [_started("NewReplicaSetCreated", text, now)], _deadline(deployment)
    return _rolling(deployment, status, old, now)


def _rolling(
    deployment: Object, status: Object, old: Object, now: datetime
) -> tuple[list[Object], float | None]:
    """A rollout that is under way, or one that was over when a pod went down."""
    name = old["message"].split('"')[1]
    if old["reason"] == "NewReplicaSetAvailable":
        return [_keep(old)], None
    if _moved(deployment, status):
        text = f'ReplicaSet "{name}" is progressing.'
        return [_started("ReplicaSetUpdated", text, now)], _deadline(deployment)
    left = _deadline(deployment) - _since(old, now)
    if left > 0:
        return [_keep(old)], left
    text = f'ReplicaSet "{name}" has timed out progressing.'
    return [_condition("Progressing", "False", "ProgressDeadlineExceeded", text)], None


def _started(reason: str, message: str, now: datetime) -> Object:
    """A sign of progress: the deadline counts from now."""
    condition = _condition("Progressing", "True", reason, message)
    return {**condition, "lastUpdateTime": format_time(now)}


def _moved(deployment: Object, status: Object) -> bool:
    """Whether the rollout is further than the last status said."""
    before = deployment.get("status") or {}
    gone_old = status.get("replicas", 0) - status.get("updatedReplicas", 0)
    had_old = before.get("replicas", 0) - before.get("updatedReplicas", 0)
    return bool(
        gone_old < had_old
        or any(
            status.get(key, 0) > before.get(key, 0)
            for key in ("updatedReplicas", "readyReplicas", "availableReplicas")
        )
    )


def _failures(observed: plan.Observed) -> list[Object]:
    for entry in reversed(observed.sets):
        condition = meta.condition(entry, "ReplicaFailure")
        if condition is not None:
            return [_keep(condition)]
    return []


def _deadline(deployment: Object) -> float:
    return float(meta.dig(deployment, "spec.progressDeadlineSeconds", 600))


def _since(condition: Object, now: datetime) -> float:
    moment = condition.get("lastUpdateTime") or condition.get("lastTransitionTime")
    return (now - parse_time(moment)) / timedelta(seconds=1) if moment else 0.0


def _condition(type_: str, status: str, reason: str, message: str) -> Object:
    return {"type": type_, "status": status, "reason": reason, "message": message}


def _keep(condition: Object) -> Object:
    return {k: v for k, v in condition.items() if k != "lastTransitionTime"}


def _merge(current: list[Object], wanted: list[Object], now: datetime) -> list[Object]:
    """As meta's, with the lastUpdateTime that Deployments alone have."""
    before = {entry["type"]: entry for entry in current}
    stamped = []
    for entry in wanted:
        old = before.get(entry["type"], {})
        same = all(old.get(key) == entry[key] for key in ("status", "reason", "message"))
        moment = old.get("lastUpdateTime") if same else None
        stamped.append({**entry, "lastUpdateTime": entry.get("lastUpdateTime") or moment
                        or format_time(now)})  # fmt: skip
    return meta.merge_conditions(current, stamped, now)
