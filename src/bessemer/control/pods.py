"""What every workload asks of a pod, and how one is made of a template. Pure.

Source: k8s.io/kubernetes pkg/api/v1/pod, pkg/controller/controller_utils.go.
"""

from __future__ import annotations

from datetime import datetime

from bessemer.base.clock import parse_time, remaining
from bessemer.kinds import meta
from bessemer.kinds.kind import Object


def phase(pod: Object) -> str:
    """status.phase; a pod that nobody looked at yet is Pending."""
    return str(meta.dig(pod, "status.phase", "Pending"))


def is_finished(pod: Object) -> bool:
    """Whether it ended for good."""
    return phase(pod) in ("Succeeded", "Failed")


def is_active(pod: Object) -> bool:
    """Whether it counts as a replica: not ended, not ending."""
    return not is_finished(pod) and not meta.is_deleting(pod)


def is_ready(pod: Object) -> bool:
    """Whether its Ready condition is True."""
    condition = meta.condition(pod, "Ready")
    return condition is not None and condition.get("status") == "True"


def available_in(pod: Object, min_ready_seconds: int, now: datetime) -> float | None:
    """Seconds until the pod counts as available; None while it is not ready."""
    since = ready_since(pod)
    return None if since is None else remaining(since, min_ready_seconds, now)


def ready_since(pod: Object) -> datetime | None:
    """From when on the pod is ready; None while it is not."""
    condition = meta.condition(pod, "Ready")
    if condition is None or condition.get("status") != "True":
        return None
    since = condition.get("lastTransitionTime")
    if not since:
        return None
    return parse_time(since)


def is_available(pod: Object, min_ready_seconds: int, now: datetime) -> bool:
    """Whether it has been ready for that long."""
    if not min_ready_seconds:
        return is_ready(pod)
    left = available_in(pod, min_ready_seconds, now)
    return left is not None and left <= 0


def restarts(pod: Object) -> int:
    """How often its containers were started again."""
    return sum(
        int(status.get("restartCount", 0))
        for field in ("initContainerStatuses", "containerStatuses")
        for status in meta.dig(pod, f"status.{field}") or ()
    )


def finished_at(pod: Object) -> datetime | None:
    """When the last of its containers ended; else when its Ready condition last changed."""
    ends = [
        parse_time(end)
        for status in meta.dig(pod, "status.containerStatuses") or ()
        if (end := meta.dig(status, "state.terminated.finishedAt"))
    ]
    if ends:
        return max(ends)
    condition = meta.condition(pod, "Ready") or {}
    moment = condition.get("lastTransitionTime") or meta.dig(pod, "metadata.creationTimestamp")
    return parse_time(moment) if moment else None


def from_template(template: Object, owner: Object) -> Object:
    """A pod as the template says, owned by the owner, its name made at the API server."""
    source = template.get("metadata") or {}
    metadata: Object = {
        "generateName": f"{meta.name(owner)}-",
        "namespace": meta.namespace(owner),
        "labels": dict(source.get("labels") or {}),
        "ownerReferences": [meta.owner_reference(owner)],
    }
    if source.get("annotations"):
        metadata["annotations"] = dict(source["annotations"])
    if source.get("finalizers"):
        metadata["finalizers"] = list(source["finalizers"])
    pod: Object = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
    return {**pod, "spec": meta.copy(template.get("spec") or {})}
