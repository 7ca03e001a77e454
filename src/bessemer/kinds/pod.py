"""Pod: what runs."""

from __future__ import annotations

from bessemer.kinds import columns, meta, poddefaults, podrules, rules
from bessemer.kinds.kind import Cause, Column, Kind, Object

#: A pod in one of them never runs again.
FINAL_PHASES = ("Succeeded", "Failed")
_FIXED_TEXT = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
    "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set "
    "to 1 if it was previously negative)"
)


def _default(obj: Object) -> None:
    spec = obj["spec"]
    spec.setdefault("enableServiceLinks", True)
    poddefaults.fill(spec)
    obj.setdefault("status", {}).setdefault("qosClass", poddefaults.qos_class(spec))


def _validate(new: Object, old: Object | None) -> list[Cause]:
    spec = new["spec"]
    if old is None:
        return podrules.check(spec, "spec")
    if spec == old["spec"]:
        return []
    causes = podrules.check(spec, "spec")
    held = old["spec"].get("nodeName")
    moved = held and held != spec.get("nodeName")  # a pod is placed once: that is the binding
    if moved or _without_changeable(spec) != _without_changeable(old["spec"]):
        causes.append(rules.forbidden("spec", _FIXED_TEXT))
    return causes


def _without_changeable(spec: Object) -> Object:
    rest = {
        key: value
        for key, value in spec.items()
        if key not in ("activeDeadlineSeconds", "tolerations", "nodeName")
    }
    for part in ("containers", "initContainers"):
        rest[part] = [
            {key: value for key, value in entry.items() if key not in ("image", "imagePullPolicy")}
            for entry in spec.get(part) or ()
        ]
    return rest


def has_ended(pod: Object) -> bool:
    """Whether the pod has ended for good, as its phase tells."""
    return meta.dig(pod, "status.phase") in FINAL_PHASES


# ---- columns


def _ready(obj: Object) -> str:
    statuses = meta.dig(obj, "status.containerStatuses") or ()
    ready = sum(1 for status in statuses if status.get("ready"))
    return f"{ready}/{len(obj['spec']['containers'])}"


def _restarts(obj: Object) -> str:
    statuses = meta.dig(obj, "status.containerStatuses") or ()
    return str(sum(status.get("restartCount", 0) for status in statuses))


def _state_reason(status: Object) -> str:
    state = status.get("state") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    if waiting.get("reason"):
        return str(waiting["reason"])
    if not ended:
        return ""
    if ended.get("reason"):
        return str(ended["reason"])
    if ended.get("signal"):
        return f"Signal:{ended['signal']}"
    return f"ExitCode:{ended.get('exitCode', 0)}"


def _init_reason(obj: Object) -> str:
    """``Init:0/2`` while init containers run, or why they don't."""
    statuses = meta.dig(obj, "status.initContainerStatuses") or ()
    for index, status in enumerate(statuses):
        state = status.get("state") or {}
        ended = state.get("terminated")
        if ended is not None and ended.get("exitCode") == 0:
            continue
        if (state.get("running") and status.get("started")) or status.get("ready"):
            continue
        reason = _state_reason(status)
        if reason and reason != "PodInitializing":
            return f"Init:{reason}"
        return f"Init:{index}/{len(obj['spec'].get('initContainers') or ())}"
    return ""


def _status(obj: Object) -> str:
    status = obj.get("status") or {}
    reason = str(status.get("reason") or status.get("phase") or "Unknown")
    if init := _init_reason(obj):
        reason = init
    else:
        statuses = status.get("containerStatuses") or ()
        for entry in reversed(statuses):
            reason = _state_reason(entry) or reason
        running = any(entry.get("ready") for entry in statuses)
        if reason == "Completed" and running:
            reason = "Running" if _is_ready(obj) else "NotReady"
    if meta.is_deleting(obj) and not has_ended(obj):
        return "Terminating"
    return reason


def _is_ready(obj: Object) -> bool:
    return (meta.condition(obj, "Ready") or {}).get("status") == "True"


def _gates(obj: Object) -> str:
    gates = obj["spec"].get("readinessGates") or ()
    if not gates:
        return "<none>"
    kinds = [meta.condition(obj, gate["conditionType"]) or {} for gate in gates]
    return f"{sum(found.get('status') == 'True' for found in kinds)}/{len(gates)}"


#: A condition: only there, and False, where something runs instead of an image of the pod.
IMAGES_PULLED = "bessemer.dev/ImagesPulled"

POD = Kind(
    "",
    "v1",
    "Pod",
    "pods",
    singular="pod",
    short_names=("po",),
    categories=("all",),
    subresources=frozenset({"status"}),
    schema="core.v1.Pod",
    default=_default,
    validate=_validate,
    fields={
        "spec.nodeName": "spec.nodeName",
        "spec.restartPolicy": "spec.restartPolicy",
        "spec.schedulerName": "spec.schedulerName",
        "spec.serviceAccountName": "spec.serviceAccountName",
        "spec.hostNetwork": "spec.hostNetwork",
        "status.phase": "status.phase",
        "status.podIP": "status.podIP",
        "status.nominatedNodeName": "status.nominatedNodeName",
    },
    columns=(
        columns.NAME,
        Column("Ready", _ready),
        Column("Status", _status),
        Column("Restarts", _restarts),
        columns.AGE,
        Column("IP", columns.path("status.podIP"), priority=1),
        Column("Node", columns.path("spec.nodeName"), priority=1),
        Column("Nominated Node", columns.path("status.nominatedNodeName"), priority=1),
        Column("Readiness Gates", _gates, priority=1),
    ),
)
