"""What a Deployment's status says of its ReplicaSets. Pure.

Source: k8s.io/kubernetes pkg/controller/deployment/progress.go and sync.go.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from bessemer.base.clock import format_time, parse_time
from bessemer.cluster.controllers.deployment import plan
from bessemer.kinds import meta
from bessemer.kinds.kind import Object

_PAUSED, _RESUMED = "DeploymentPaused", "DeploymentResumed"
_TIMED_OUT, _REFUSED = "ProgressDeadlineExceeded", "ReplicaSetCreateError"
# So many seconds mean that nobody asks for progress. Source: util.HasProgressDeadline.
_NEVER = 2**31 - 1


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
        "unavailableReplicas": max(0, wanted - available),
        "terminatingReplicas": sum(
            plan.counted(entry, "terminatingReplicas") for entry in observed.sets
        ),
        "collisionCount": plan.counted(deployment, "collisionCount"),
    }
    result |= {key: value for key, value in counts.items() if value}
    progress, again = _progress(observed, result, now)
    conditions = [_available(deployment, available), *progress, *_failures(observed)]
    gone = {"ReplicaFailure"} if _has_deadline(deployment) else {"ReplicaFailure", "Progressing"}
    current_conditions = [
        entry
        for entry in meta.dig(deployment, "status.conditions") or ()
        if entry["type"] not in gone
    ]
    result["conditions"] = _merge(current_conditions, conditions, now)
    return Outcome(result, again)


def not_created(deployment: Object, message: str, now: datetime) -> Object:
    """The status of a Deployment whose new ReplicaSet was refused."""
    status = dict(deployment.get("status") or {})
    if _has_deadline(deployment):
        entry = _condition("Progressing", "False", _REFUSED, message)
        status["conditions"] = _merge(list(status.get("conditions") or ()), [entry], now)
    return status


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
    deployment = observed.deployment
    old = meta.condition(deployment, "Progressing") or {}
    if not _has_deadline(deployment):
        return [], None
    if plan.is_paused(deployment):
        # A rollout that missed its deadline before the pause is still said to have missed it.
        paused = _condition("Progressing", "Unknown", _PAUSED, "Deployment is paused")
        return [_keep(old) if old.get("reason") == _TIMED_OUT else paused], None
    return _track(observed, status, old, now)


def _track(
    observed: plan.Observed, status: Object, old: Object, now: datetime
) -> tuple[list[Object], float | None]:
    deployment, current = observed.deployment, observed.current
    # Recreate makes the new ReplicaSet once the old pods are gone.
    of = ("ReplicaSet", current) if current else ("Deployment", deployment)
    subject = f'{of[0]} "{meta.name(of[1])}"'
    if plan.is_complete({**deployment, "status": status}):
        text = f"{subject} has successfully progressed."
        return [_condition("Progressing", "True", "NewReplicaSetAvailable", text)], None
    if old.get("reason") == _PAUSED:
        text = "Deployment is resumed"
        return [_started(_RESUMED, text, now, "Unknown")], _deadline(deployment)
    if current is not None and _is_new(current, old):
        return [_started(*_announce(deployment, current), now)], _deadline(deployment)
    return _rolling(deployment, subject, status, old, now) if old else ([], None)


def _is_new(current: Object, old: Object) -> bool:
    """Whether the Progressing condition has not told of this ReplicaSet yet."""
    if old.get("reason") == _RESUMED:
        return False
    return old.get("reason") == _REFUSED or f'"{meta.name(current)}"' not in old.get("message", "")


def _announce(deployment: Object, current: Object) -> tuple[str, str]:
    """Reason and message: it was made for this rollout, or was there from an earlier one."""
    name, made = meta.name(current), current["metadata"].get("creationTimestamp", "")
    was_before = plan.HISTORY in meta.annotations(current)
    if was_before or made < deployment["metadata"].get("creationTimestamp", ""):
        return "FoundNewReplicaSet", f'Found new replica set "{name}"'
    return "NewReplicaSetCreated", f'Created new replica set "{name}"'


def _rolling(
    deployment: Object, subject: str, status: Object, old: Object, now: datetime
) -> tuple[list[Object], float | None]:
    """A rollout that is under way, or one that was over when a pod went down."""
    if old["reason"] == "NewReplicaSetAvailable":
        return [_keep(old)], None
    if _moved(deployment, status):
        text = f"{subject} is progressing."
        return [_started("ReplicaSetUpdated", text, now)], _deadline(deployment)
    if old["reason"] == _TIMED_OUT:
        return [_keep(old)], None
    left = _deadline(deployment) - _since(old, now)
    if left > 0:
        return [_keep(old)], left
    text = f"{subject} has timed out progressing."
    return [_condition("Progressing", "False", _TIMED_OUT, text)], None


def _started(reason: str, message: str, now: datetime, status: str = "True") -> Object:
    """A sign of progress: the deadline counts from now."""
    condition = _condition("Progressing", status, reason, message)
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
    current = observed.current
    for entry in (*([current] if current else []), *observed.old):
        condition = meta.condition(entry, "ReplicaFailure")
        if condition is not None:
            return [_keep(condition)]
    return []


def _deadline(deployment: Object) -> float:
    return float(meta.dig(deployment, "spec.progressDeadlineSeconds", 600))


def _has_deadline(deployment: Object) -> bool:
    return _deadline(deployment) < _NEVER


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
