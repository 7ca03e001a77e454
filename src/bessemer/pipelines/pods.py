"""A step's pod: made from its task, and read back. Pure.

Source: k8s.io/api/core/v1 PodStatus; backend/src/v2/driver/container.go for what goes into it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from bessemer.artifacts.store import Attachment
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.pod import IMAGES_PULLED, POD
from bessemer.pipelines import executor_io, placeholders, platform, types
from bessemer.pipelines.actions import CreatePod
from bessemer.pipelines.records import Run
from bessemer.pipelines.spec.model import Container

RUN_LABEL = "pipeline/runid"  # as upstream; the engine finds a run's pods by it
TASK_LABEL = "bessemer.dev/task-id"
SERVICE_ACCOUNT = "pipeline-runner"
CONTAINER = "main"
# Else Python keeps what a step prints until its end, and the log has it behind the traceback.
_UNBUFFERED = ("PYTHONUNBUFFERED", "1")
_GIGABYTE = 1_000_000_000


def build(action: CreatePod, run: Run, attached: Attachment) -> Object:
    """The pod of a task's attempt; ``attached`` is how it gets at the task's folder.

    Raises:
        platform.InvalidSetting: a resource is none.
        placeholders.TooLong: its command is too much.
    """
    task, body = action.task, action.component.body
    assert isinstance(body, Container), "only containers have pods"
    executor_input = executor_io.make_input(
        task, action.component, action.artifacts, attached.path
    )
    parameters = {**action.extra, **task.inputs.parameters}
    lookup = placeholders.Metered(
        executor_io.make_lookup(executor_input, parameters, action.scope.constant, attached.path)
    )
    escaped = placeholders.Metered(_escape(lookup.peek))
    container: Object = {
        "name": CONTAINER,
        "image": placeholders.fill_text(body.image, lookup),
        # What the step sets itself comes later, and counts.
        "env": [
            *attached.env,
            *({"name": name, "value": value} for name, value in (_UNBUFFERED, *body.env)),
        ],
        "volumeMounts": list(attached.mounts),
    }
    if executor_io.is_old(action.component):
        container["volumeMounts"] += [
            {**mount, "mountPath": f"{executor_io.OLD_MOUNT}{mount['mountPath']}"}
            for mount in attached.mounts
            if mount["mountPath"] != executor_io.OLD_MOUNT
        ]
    if body.command:
        container["command"] = placeholders.fill_arguments(body.command, escaped)
    if body.args:
        container["args"] = placeholders.fill_arguments(body.args, escaped)
    if resources := _resources(body.resources, lookup):
        container["resources"] = resources
    pod = meta.new(
        POD,
        task.pod_name,
        run.namespace,
        labels={RUN_LABEL: run.id, TASK_LABEL: task.id},
        spec={
            "serviceAccountName": run.service_account or SERVICE_ACCOUNT,
            "restartPolicy": "Never",
            "containers": [container],
            "volumes": list(attached.volumes),
        },
    )
    platform.apply(action.settings, pod)
    return pod


def build_trial(body: Container, settings: Mapping[str, Any], run: Run) -> Object:
    """A pod with all that is known of a step before its run begins; it has no name.

    Raises:
        platform.InvalidSetting: a resource is none.
    """
    known = {
        key: "" if placeholders.has_any(value) else value for key, value in body.resources.items()
    }
    container: Object = {
        "name": CONTAINER,
        "image": "python" if placeholders.has_any(body.image) else body.image,
        "env": [{"name": name, "value": value} for name, value in body.env],
    }
    if resources := _resources(known, lambda _: placeholders.UNKNOWN):
        container["resources"] = resources
    spec = {
        "serviceAccountName": run.service_account or SERVICE_ACCOUNT,
        "restartPolicy": "Never",
        "containers": [container],
    }
    pod = meta.new(POD, "", run.namespace, labels={RUN_LABEL: run.id}, spec=spec)
    platform.apply(settings, pod)
    return pod


def _escape(lookup: placeholders.Lookup) -> placeholders.Lookup:
    """Values as a pod's command needs them: ``$`` doubled, so that no $(VAR) in them expands."""

    def escaped(path: str) -> Any:
        found = lookup(path)
        if found is placeholders.UNKNOWN or found is None or found == []:
            return found
        return types.to_text(found).replace("$", "$$")

    return escaped


_RESOURCES = (
    # where, what, the field of today, the deprecated one (cores or GB)
    ("limits", "cpu", "resourceCpuLimit", "cpuLimit"),
    ("limits", "memory", "resourceMemoryLimit", "memoryLimit"),
    ("requests", "cpu", "resourceCpuRequest", "cpuRequest"),
    ("requests", "memory", "resourceMemoryRequest", "memoryRequest"),
)


def _resources(resources: Mapping[str, Any], lookup: placeholders.Lookup) -> Object:
    result: Object = {}
    for side, what, field, deprecated in _RESOURCES:
        amount = placeholders.fill_text(str(resources.get(field) or ""), lookup)
        if not amount and resources.get(deprecated):
            number = float(resources[deprecated])
            amount = str(int(number * _GIGABYTE)) if what == "memory" else f"{number:g}"
        if amount:
            result.setdefault(side, {})[what] = amount
    accelerator = resources.get("accelerator") or {}
    type_ = accelerator.get("resourceType") or accelerator.get("type") or ""
    count = accelerator.get("resourceCount") or accelerator.get("count") or ""
    type_ = placeholders.fill_text(str(type_), lookup)
    count = placeholders.fill_text(str(count), lookup)
    if type_ and count not in ("", "0"):
        result.setdefault("limits", {})[type_] = count
    return result


class Phase(StrEnum):
    """What a step's pod is doing, as the engine sees it."""

    ACTIVE = "ACTIVE"  # it runs, or will soon
    WAITING = "WAITING"  # it can't start now, but may later
    STUCK = "STUCK"  # it can't start, and waiting seldom helps
    SUCCEEDED = "SUCCEEDED"  # its command ended with 0
    FAILED = "FAILED"  # its command ended otherwise, or never ran


@dataclass(frozen=True)
class Observed:
    """A pod's phase, and why (for a person)."""

    phase: Phase
    why: str = ""
    hopeless: bool = False  # STUCK, and waiting never helps
    note: str = ""  # what is not as the step asked, though it runs
    has_log: bool = False


_STUCK = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
_HOPELESS = frozenset({"InvalidImageName", "ErrImageNeverPull"})
_CURES = {
    "OOMKilled": "it used more memory than its limit; raise it with set_memory_limit",
    "DeadlineExceeded": "it ran longer than its timeout; raise it with set_timeout",
    "ContainerStatusUnknown": "nobody saw its end",
}


def observe(pod: Object) -> Observed:
    """What a pod's status says."""
    told = meta.condition(pod, IMAGES_PULLED) or {}
    note = str(told.get("message", "")) if told.get("status") == "False" else ""
    seen = _observe(pod)
    if not note:
        return seen
    why = f"{seen.why} ({note})" if seen.phase is Phase.FAILED else seen.why
    return replace(seen, why=why, note=note)


def _observe(pod: Object) -> Observed:
    phase = meta.dig(pod, "status.phase", "Pending")
    if phase == "Succeeded":
        return Observed(Phase.SUCCEEDED)
    if phase == "Failed":
        return _failed(pod)
    state = _container_state(pod)
    waiting = state.get("waiting") or {}
    reason, message = str(waiting.get("reason", "")), str(waiting.get("message", ""))
    if reason in _STUCK or reason in _HOPELESS:
        return Observed(Phase.STUCK, f"{reason}: {message}", hopeless=reason in _HOPELESS)
    if reason and message:
        return Observed(Phase.WAITING, message)
    scheduled = meta.condition(pod, "PodScheduled") or {}
    if scheduled.get("status") == "False":
        return Observed(Phase.WAITING, f"cannot be scheduled: {scheduled.get('message', '')}")
    return Observed(Phase.ACTIVE)


def _container_state(pod: Object) -> Object:
    for status in meta.dig(pod, "status.containerStatuses") or ():
        if status.get("name") == CONTAINER:
            state: Object = status.get("state") or {}
            return state
    return {}


def _failed(pod: Object) -> Observed:
    ended = _container_state(pod).get("terminated") or {}
    reason = meta.dig(pod, "status.reason") or ended.get("reason") or "Error"
    message = meta.dig(pod, "status.message") or ended.get("message") or ""
    parts = []
    if reason != "Error":
        parts.append(str(reason))
    if "exitCode" in ended:
        parts.append(f"exit code {ended['exitCode']}")
    text = ", ".join(parts) or "the pod failed"
    for detail in (_CURES.get(str(reason), ""), str(message).strip()):
        if detail:
            text += f": {detail}"
    return Observed(Phase.FAILED, text, has_log=bool(ended))


def is_over(pod: Object) -> bool:
    """Whether the pod ended, one way or the other."""
    return meta.dig(pod, "status.phase") in ("Succeeded", "Failed")
