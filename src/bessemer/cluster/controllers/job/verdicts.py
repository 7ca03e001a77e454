"""When and how a Job ends: the first of upstream's criteria that holds. Pure.

Source: k8s.io/kubernetes pkg/controller/job (job_controller.go syncJob, success_policy.go).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bessemer.base.clock import later, parse_time
from bessemer.cluster.controllers.job import failures, indexes
from bessemer.cluster.controllers.job.pod_tracking import (
    PodCounts,
    has,
    is_indexed,
    limits_indexes,
)
from bessemer.control import pods as podrules
from bessemer.kinds import meta
from bessemer.kinds.kind import Object

#: What a Job says once its end is decided, until its last pod is gone and counted.
INTERIM = {"Complete": "SuccessCriteriaMet", "Failed": "FailureTarget"}


@dataclass(frozen=True)
class Verdict:
    """How a Job ends, or ended."""

    type: str  # Complete or Failed
    reason: str
    message: str


def judge(job: Object, counts: PodCounts, pods: list[Object], now: datetime) -> Verdict | None:
    """How the Job ends; None while it goes on."""
    return (
        _standing(job)
        or _failed_by_policy(job, pods)
        or _failed(job, counts, now)
        or _failed_by_indexes(job, counts)
        or _succeeded_by_policy(job, counts)
        or _succeeded(job, counts)
    )


def is_suspended(job: Object) -> bool:
    """Whether its pods are to wait."""
    return bool(meta.dig(job, "spec.suspend"))


def completions(job: Object) -> int | None:
    """How many successes it wants; None for a work queue."""
    value = meta.dig(job, "spec.completions")
    return None if value is None else int(value)


def deadline(job: Object, now: datetime) -> float | None:
    """Seconds left of activeDeadlineSeconds."""
    seconds, start = meta.dig(job, "spec.activeDeadlineSeconds"), meta.dig(job, "status.startTime")
    if seconds is None or start is None or is_suspended(job):
        return None
    return (later(parse_time(start), int(seconds)) - now).total_seconds()


def _standing(job: Object) -> Verdict | None:
    """The verdict that was reached before, while the last pods end."""
    for final, interim in INTERIM.items():
        if has(job, interim):
            entry = meta.condition(job, interim) or {}
            return Verdict(final, entry.get("reason", ""), entry.get("message", ""))
    return None


def _failed_by_policy(job: Object, pods: list[Object]) -> Verdict | None:
    for pod in pods if meta.dig(job, "spec.podFailurePolicy") else ():
        found = failures.match(job, pod) if podrules.phase(pod) == "Failed" else None
        if found is not None and found.action is failures.Action.FAIL_JOB:
            return Verdict("Failed", "PodFailurePolicy", found.message)
    return None


def _failed(job: Object, counts: PodCounts, now: datetime) -> Verdict | None:
    limit = int(meta.dig(job, "spec.backoffLimit", 6))
    restarts = 0
    if meta.dig(job, "spec.template.spec.restartPolicy") == "OnFailure":
        restarts = sum(podrules.restarts(pod) for pod in (*counts.active, *counts.terminating))
    if counts.failed > limit or (restarts and restarts >= max(limit, 1)):
        text = "Job has reached the specified backoff limit"
        return Verdict("Failed", "BackoffLimitExceeded", text)
    if (left := deadline(job, now)) is not None and left <= 0:
        text = "Job was active longer than specified deadline"
        return Verdict("Failed", "DeadlineExceeded", text)
    return None


def _failed_by_indexes(job: Object, counts: PodCounts) -> Verdict | None:
    if not is_indexed(job) or not limits_indexes(job) or not counts.lost:
        return None
    most = meta.dig(job, "spec.maxFailedIndexes")
    if most is not None and len(counts.lost) > int(most):
        text = "Job has exceeded the specified maximal number of failed indexes"
        return Verdict("Failed", "MaxFailedIndexesExceeded", text)
    if len(counts.lost) + len(counts.done) >= (completions(job) or 0):
        return Verdict("Failed", "FailedIndexes", "Job has failed indexes")
    return None


def _succeeded_by_policy(job: Object, counts: PodCounts) -> Verdict | None:
    if not is_indexed(job) or not counts.done:
        return None
    for number, rule in enumerate(meta.dig(job, "spec.successPolicy.rules") or ()):
        if _fits(rule, counts.done, completions(job) or 0):
            return Verdict("Complete", "SuccessPolicy", f"Matched rules at index {number}")
    return None


def _fits(rule: Object, done: set[int], wanted: int) -> bool:
    count = rule.get("succeededCount")
    if rule.get("succeededIndexes") is None:
        return count is not None and len(done) >= int(count)
    named = set(indexes.parse(rule["succeededIndexes"], wanted))
    if not named:
        return False
    return named <= done or (count is not None and len(named & done) >= int(count))


def _succeeded(job: Object, counts: PodCounts) -> Verdict | None:
    wanted, good = completions(job), counts.succeeded
    # A work queue is done when a pod said so and the others ended.
    if good >= wanted if wanted is not None else good and not counts.active:
        text = "Reached expected number of succeeded pods"
        return Verdict("Complete", "CompletionsReached", text)
    return None
