"""Reads what a revision's objects say of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from bessemer.base.clock import parse_time
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.serving import manifests
from bessemer.serving.plan import Failure, Revision

# Waits that are the container's usual beginning, not a failure.
_BEGINNING = frozenset({"", "ContainerCreating", "PodInitializing"})


def read_revision(
    deployment: Object, slices: Iterable[Object], pods: Iterable[Object]
) -> Revision:
    """The revision of a Deployment, its Service's EndpointSlices and its pods."""
    pods = list(pods)
    notes = meta.annotations(deployment)
    idle = notes.get(manifests.IDLE_SINCE)
    ready = _count_ready(slices)
    return Revision(
        name=meta.name(deployment),
        number=int(notes.get(manifests.NUMBER, "0")),
        digest=notes.get(manifests.DIGEST, ""),
        replicas=meta.dig(deployment, "spec.replicas", 1),
        ready=ready,
        failure=None if ready else _find_failure(pods) or _read_creation(deployment),
        idle_since=parse_time(idle) if idle else None,
        waits_for="" if ready else _find_wait(pods),
    )


def _count_ready(slices: Iterable[Object]) -> int:
    # Endpoints, not pods: traffic may move only to what the gateway can know.
    return sum(
        1
        for entry in slices
        for endpoint in entry.get("endpoints") or ()
        if meta.dig(endpoint, "conditions.ready") is not False
    )


def _find_failure(pods: Iterable[Object]) -> Failure | None:
    """The first that says why: a container that ended, one that can't start, no room."""
    for pod in pods:
        if meta.is_deleting(pod):
            continue
        for status in (
            *(meta.dig(pod, "status.initContainerStatuses") or ()),
            *(meta.dig(pod, "status.containerStatuses") or ()),
        ):
            if failure := _read_container(status):
                return failure
        if failure := _read_scheduling(pod):
            return failure
        if meta.dig(pod, "status.phase") == "Failed":
            return Failure(
                meta.dig(pod, "status.reason") or "PodFailed", meta.dig(pod, "status.message", "")
            )
    return None


def _find_wait(pods: Iterable[Object]) -> str:
    """Which running container's readiness probe has not passed, and what it asks for."""
    for pod in pods:
        probes = {
            container["name"]: container.get("readinessProbe")
            for container in meta.dig(pod, "spec.containers") or ()
        }
        for status in meta.dig(pod, "status.containerStatuses") or ():
            probe = probes.get(status.get("name"))
            if probe and meta.dig(status, "state.running") and not status.get("ready"):
                return (
                    f"container {status['name']} runs, but its readiness probe "
                    f"({_describe_probe(probe)}) has not passed yet"
                )
    return ""


def _describe_probe(probe: Object) -> str:
    match probe:
        case {"httpGet": {"port": port, **rest}}:
            return f"GET {rest.get('path', '/')} at port {port}"
        case {"tcpSocket": {"port": port}}:
            return f"a connection to port {port}"
        case {"grpc": {"port": port}}:
            return f"a gRPC health check at port {port}"
        case _:
            return "a command"


def _read_container(status: Object) -> Failure | None:
    for path in ("state.terminated", "lastState.terminated"):
        ended = meta.dig(status, path)
        if ended and ended.get("exitCode"):
            code, reason = ended["exitCode"], ended.get("reason") or "Error"
            text = (
                ended.get("message") or f"the model server ended with exit code {code}"
            ).strip()
            # What the server says of itself doesn't tell who ended it.
            return Failure(reason, text if reason == "Error" else f"{reason}: {text}", code)
    waiting = meta.dig(status, "state.waiting")
    if waiting and waiting.get("reason", "") not in _BEGINNING:
        return Failure(waiting["reason"], waiting.get("message") or waiting["reason"])
    return None


def _read_scheduling(pod: Object) -> Failure | None:
    scheduled = meta.condition(pod, "PodScheduled")
    if scheduled is None or scheduled.get("status") != "False":
        return None
    return Failure(
        scheduled.get("reason") or "Unschedulable", scheduled.get("message", ""), final=False
    )


def _read_creation(deployment: Object) -> Failure | None:
    """Why there is no pod at all: no such service account, a pod that admission refuses."""
    failed = meta.condition(deployment, "ReplicaFailure")
    if failed is None or failed.get("status") != "True":
        return None
    return Failure(failed.get("reason") or "FailedCreate", failed.get("message", ""))
