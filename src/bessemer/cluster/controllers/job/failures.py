"""What a pod's failure means for its Job, by spec.podFailurePolicy. Pure.

The first rule that fits decides; without one a failure counts towards the back-off limit.
Source: k8s.io/kubernetes pkg/controller/job/pod_failure_policy.go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from bessemer.kinds import meta
from bessemer.kinds.kind import Object


class Action(StrEnum):
    """What a rule of a podFailurePolicy asks for."""

    FAIL_JOB = "FailJob"  # the Job ends, at once
    FAIL_INDEX = "FailIndex"  # this index is not tried again
    IGNORE = "Ignore"  # another pod, and this one counts nowhere
    COUNT = "Count"  # as without a rule


@dataclass(frozen=True)
class Match:
    """The rule that fits, and why in upstream's words."""

    action: Action
    message: str


def match(job: Object, pod: Object) -> Match | None:
    """The first rule that fits a failed pod; None where none does."""
    for number, rule in enumerate(meta.dig(job, "spec.podFailurePolicy.rules") or ()):
        if rule.get("onExitCodes") is not None:
            why = _ended_with(pod, rule["onExitCodes"])
        else:
            why = _has_condition(pod, rule.get("onPodConditions") or ())
        if why:
            action = Action(rule["action"])
            return Match(action, f"{why} matching {action} rule at index {number}")
    return None


def counts(job: Object, pod: Object) -> bool:
    """Whether a failed pod counts towards the limits."""
    found = match(job, pod)
    return found is None or found.action is not Action.IGNORE


def _ended_with(pod: Object, wanted: Object) -> str:
    name = wanted.get("containerName")
    for part in ("containerStatuses", "initContainerStatuses"):
        for status in meta.dig(pod, f"status.{part}") or ():
            code = meta.dig(status, "state.terminated.exitCode", 0)
            if not code or name not in (None, status["name"]):
                continue
            if (code in wanted["values"]) == (wanted["operator"] == "In"):
                where = f"{meta.namespace(pod)}/{meta.name(pod)}"
                return f"Container {status['name']} for pod {where} failed with exit code {code}"
    return ""


def _has_condition(pod: Object, patterns: Iterable[Object]) -> str:
    wanted = {(pattern["type"], pattern.get("status", "True")) for pattern in patterns}
    for condition in meta.dig(pod, "status.conditions") or ():
        if (condition["type"], condition["status"]) in wanted:
            where = f"{meta.namespace(pod)}/{meta.name(pod)}"
            return f"Pod {where} has condition {condition['type']}"
    return ""
