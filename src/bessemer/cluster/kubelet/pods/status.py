"""The status that a pod deserves: phase, conditions, container statuses, as kubelet words them.

Pure. Source: k8s.io/kubernetes pkg/kubelet/kubelet_pods.go (generateAPIPodStatus, getPhase),
pkg/kubelet/pods/status/generate.go.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from bessemer.base.clock import format_time
from bessemer.cluster.kubelet.pods import eviction, plan
from bessemer.cluster.kubelet.pods.plan import NOTHING, Attempt, Container, View
from bessemer.cluster.kubelet.runtime.base import ContainerState
from bessemer.kinds import meta, poddefaults
from bessemer.kinds.kind import Object
from bessemer.kinds.pod import IMAGES_PULLED, has_ended

_OURS = ("PodScheduled", "PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready")
#: Only there, and False, when a resource limit of the pod is not held on this machine.
LIMITS_HELD = "bessemer.dev/LimitsHeld"
_LOST_MESSAGE = "The container's end was not seen: its supervisor was killed"
_EXPIRED_MESSAGE = "Pod was active on the node longer than the specified deadline"


@dataclass(frozen=True)
class NodeAddresses:
    """Where the pod runs."""

    host_ip: str
    pod_ip: str
    unheld: str = ""  # which of its limits the machine does not hold, and why
    stand_in: str = ""  # what runs instead of its images


def build(pod: Object, view: View, place: NodeAddresses, now: datetime) -> Object:
    """The pod's status now; equal to the stored one when there is nothing new to tell."""
    old = pod.get("status") or {}
    phase, reason, message = _phase(pod, view, now)
    status: Object = {key: value for key, value in old.items() if key not in ("reason", "message")}
    status["phase"] = phase
    if reason:
        status["reason"], status["message"] = reason, message
    status.setdefault("startTime", format_time(now))
    status.setdefault("qosClass", poddefaults.qos_class(pod["spec"]))
    status["hostIP"], status["hostIPs"] = place.host_ip, [{"ip": place.host_ip}]
    status["podIP"], status["podIPs"] = place.pod_ip, [{"ip": place.pod_ip}]
    inits = [
        _container_status(pod, spec, view) for spec in pod["spec"].get("initContainers") or ()
    ]
    if inits:
        status["initContainerStatuses"] = inits
    mains = [_container_status(pod, spec, view) for spec in pod["spec"]["containers"]]
    status["containerStatuses"] = sorted(mains, key=lambda each: str(each["name"]))
    status["conditions"] = _conditions(pod, view, phase, now)
    if place.unheld:
        _set_untrue(status["conditions"], LIMITS_HELD, "LimitNotHeld", place.unheld, now)
    if place.stand_in:
        _set_untrue(status["conditions"], IMAGES_PULLED, "ImageStandIn", place.stand_in, now)
    return status


def _phase(pod: Object, view: View, now: datetime) -> tuple[str, str, str]:
    old = pod.get("status") or {}
    if has_ended(pod):
        return old["phase"], old.get("reason", ""), old.get("message", "")
    containers = [view.get(spec["name"], NOTHING) for spec in plan.all_containers(pod)]
    live = any(each.is_starting or (each.attempt and each.attempt.is_live) for each in containers)
    if not live and (cut := _cut_short(pod, view, now)):
        return "Failed", *cut
    if plan.is_over(pod, view):
        return _last_phase(pod, view, live=live), "", ""
    mains = [view.get(spec["name"], NOTHING).attempt for spec in pod["spec"]["containers"]]
    if all(attempt is not None and _began(attempt) for attempt in mains):
        if meta.is_deleting(pod) and not live:
            failed = any(attempt is None or attempt.exit_code for attempt in mains)
            return ("Failed" if failed else "Succeeded"), "", ""
        return "Running", "", ""
    return "Pending", "", ""


def _cut_short(pod: Object, view: View, now: datetime) -> tuple[str, str] | None:
    """Why the node ended the pod before its work was done: reason and message."""
    if message := plan.eviction_message(pod, view):
        return eviction.REASON, message
    if plan.is_cut_off(pod, view, now):
        return "DeadlineExceeded", _EXPIRED_MESSAGE
    return None


def _last_phase(pod: Object, view: View, *, live: bool) -> str:
    if live:  # sidecars still end
        return "Running"
    mains = [view.get(spec["name"], NOTHING) for spec in pod["spec"]["containers"]]
    return "Succeeded" if all(plan.is_complete(each) for each in mains) else "Failed"


def _began(attempt: Attempt) -> bool:
    return attempt.is_live or attempt.is_over


def _container_status(pod: Object, spec: Object, view: View) -> Object:
    name = spec["name"]
    container = view.get(name, NOTHING)
    attempt = container.attempt
    status: Object = {
        "name": name,
        "state": _state(pod, spec, container, view),
        "lastState": {},
        "ready": _is_ready(pod, spec, container),
        "restartCount": attempt.number if attempt else 0,
        "image": spec.get("image", ""),
        "imageID": "",
        "started": bool(attempt and attempt.is_live and container.is_started),
    }
    if attempt and _began(attempt):
        status["containerID"] = f"bessemer://{meta.uid(pod)}/{name}/{attempt.number}"
        status["imageID"] = spec.get("image", "")
    last = container.previous
    if attempt and attempt.is_over and "terminated" not in status["state"]:
        last = attempt
    if last and last.is_over:
        status["lastState"] = {"terminated": _terminated(pod, name, last)}
    return status


def _state(pod: Object, spec: Object, container: Container, view: View) -> Object:
    attempt = container.attempt
    if attempt and attempt.is_live:
        started_at = attempt.seen.started_at
        return {"running": {"startedAt": format_time(started_at)} if started_at else {}}
    if container.trouble and not (attempt and attempt.is_over and _stays(pod, spec, container)):
        trouble = container.trouble
        waiting: Object = {"reason": trouble.reason}
        if trouble.message:
            waiting["message"] = trouble.message
        return {"waiting": waiting}
    if attempt and attempt.is_over:
        if _stays(pod, spec, container):
            return {"terminated": _terminated(pod, spec["name"], attempt)}
        wait = plan.backoff_seconds(container.streak)
        message = (
            f"back-off {_words(wait)} restarting failed container={spec['name']} "
            f"pod={meta.name(pod)}_{meta.namespace(pod)}({meta.uid(pod)})"
        )
        return {"waiting": {"reason": "CrashLoopBackOff", "message": message}}
    before = pod["spec"].get("initContainers") or ()
    inits_done = all(plan.is_complete(view.get(each["name"], NOTHING)) for each in before)
    waits_for_init = not inits_done and not plan.is_init(pod, spec)
    waiting = {"reason": "PodInitializing" if waits_for_init else "ContainerCreating"}
    return {"waiting": {**waiting, "message": container.doing} if container.doing else waiting}


def _stays(pod: Object, spec: Object, container: Container) -> bool:
    """Whether an ended container is shown as ended: for good, or until its immediate restart."""
    attempt = container.attempt
    if attempt is None or meta.is_deleting(pod):
        return True
    if has_ended(pod):
        return True
    return not plan.restarts(pod, spec, attempt) or not plan.backoff_seconds(container.streak)


def _words(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _terminated(pod: Object, name: str, attempt: Attempt) -> Object:
    seen = attempt.seen
    state: Object = {
        "exitCode": attempt.exit_code,
        "reason": _reason(attempt),
        "containerID": f"bessemer://{meta.uid(pod)}/{name}/{attempt.number}",
    }
    for field, moment in (("startedAt", seen.started_at), ("finishedAt", seen.finished_at)):
        if moment:
            state[field] = format_time(moment)
    if seen.signal:
        state["signal"] = seen.signal
    message = seen.start_error or seen.message
    if seen.state is ContainerState.LOST:
        message = message or _LOST_MESSAGE
    if message:
        state["message"] = message
    return state


def _reason(attempt: Attempt) -> str:
    seen = attempt.seen
    if seen.state is ContainerState.LOST:
        return "ContainerStatusUnknown"
    if seen.oom_killed:
        return "OOMKilled"
    if seen.start_error:
        return "ContainerCannotRun"
    return "Completed" if seen.exit_code == 0 else "Error"


def _is_ready(pod: Object, spec: Object, container: Container) -> bool:
    if plan.is_init(pod, spec) and not plan.is_sidecar(spec):
        return plan.is_complete(container)
    attempt = container.attempt
    return bool(attempt and attempt.is_live and container.is_started and container.is_ready)


class _Verdict(NamedTuple):
    """What a condition of the pod says now."""

    status: str  # "True" or "False"
    reason: str = ""
    message: str = ""


def _conditions(pod: Object, view: View, phase: str, now: datetime) -> list[Object]:
    old = {each["type"]: each for each in meta.dig(pod, "status.conditions") or ()}
    not_inited = [
        spec["name"]
        for spec in pod["spec"].get("initContainers") or ()
        if not (_is_ready(pod, spec, view.get(spec["name"], NOTHING)))
    ]
    not_ready = [
        spec["name"]
        for spec in pod["spec"]["containers"]
        if not _is_ready(pod, spec, view.get(spec["name"], NOTHING))
    ]
    begun = any(view.get(each["name"], NOTHING).attempt for each in plan.all_containers(pod))
    ready = _readiness(phase, not_ready)
    inited = _Verdict("True", "PodCompleted" if phase == "Succeeded" else "")
    # Once one of the others began, what its init containers do later takes nothing back.
    mains = (view.get(spec["name"], NOTHING).attempt for spec in pod["spec"]["containers"])
    if not_inited and phase != "Succeeded" and not any(mains):
        text = f"containers with incomplete status: [{' '.join(not_inited)}]"
        inited = _Verdict("False", "ContainersNotInitialized", text)
    verdicts = {
        "PodReadyToStartContainers": _Verdict("True" if begun else "False"),
        "Initialized": inited,
        "Ready": _gates(pod, old, ready),
        "ContainersReady": ready,
        "PodScheduled": _Verdict("True"),
    }
    conditions = [
        _condition(name, verdict, old.get(name), now) for name, verdict in verdicts.items()
    ]
    return conditions + [each for name, each in old.items() if name not in _OURS]


def _set_untrue(
    conditions: list[Object], type_: str, reason: str, why: str, now: datetime
) -> None:
    """Say what is not as the pod asks: the user must not believe that it is."""
    old = next((each for each in conditions if each["type"] == type_), None)
    if old is not None:
        conditions.remove(old)
    conditions.append(_condition(type_, _Verdict("False", reason, why), old, now))


def _readiness(phase: str, missing: list[str]) -> _Verdict:
    if phase == "Succeeded":
        return _Verdict("False", "PodCompleted")
    if phase == "Failed":
        return _Verdict("False", "PodFailed")
    if missing:
        text = f"containers with unready status: [{' '.join(missing)}]"
        return _Verdict("False", "ContainersNotReady", text)
    return _Verdict("True")


def _gates(pod: Object, old: dict[str, Object], ready: _Verdict) -> _Verdict:
    for gate in pod["spec"].get("readinessGates") or ():
        name = gate["conditionType"]
        if ready.status == "True" and old.get(name, {}).get("status") != "True":
            text = f'corresponding condition of pod readiness gate "{name}" does not exist.'
            return _Verdict("False", "ReadinessGatesNotReady", text)
    return ready


def _condition(name: str, verdict: _Verdict, old: Object | None, now: datetime) -> Object:
    value, reason, message = verdict
    condition: Object = {
        "type": name,
        "status": value,
        "lastTransitionTime": format_time(now),
    }
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    if old and old.get("status") == value:
        condition["lastTransitionTime"] = old.get("lastTransitionTime")
    return condition
