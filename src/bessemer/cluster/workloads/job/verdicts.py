"""When and how a Job ends: the first of upstream's criteria that holds. Pure.

Source: k8s.io/kubernetes pkg/controller/job (job_controller.go syncJob, success_policy.go).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bessemer.base.clock import later, parse_time
from bessemer.cluster.workloads import pods as podrules
from bessemer.cluster.workloads.job import failures, indexes
from bessemer.cluster.workloads.job.census import Census, has, is_indexed, limits_indexes
from bessemer.resources import meta
from bessemer.resources.kind import Object

#: What a Job says once its end is decided, until its last pod is gone and counted.
INTERIM = {"Complete": "SuccessCriteriaMet", "Failed": "FailureTarget"}


@dataclass(frozen=True)
class Verdict:
    """How a Job ends, or ended."""

    type: str  # Complete or Failed
    reason: str
    message: str


def judge(job: Object, census: Census, pods: list[Object], now: datetime) -> Verdict | None:
    """How the Job ends; None while it goes on."""
    return (
        _standing(job)
        or _failed_by_policy(job, pods)
        or _failed(job, census, now)
        or _failed_by_indexes(job, census)
        or _succeeded_by_policy(job, census)
        or _succeeded(job, census)
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


def _failed(job: Object, census: Census, now: datetime) -> Verdict | None:
    limit = int(meta.dig(job, "spec.backoffLimit", 6))
    restarts = 0
    if meta.dig(job, "spec.template.spec.restartPolicy") == "OnFailure":
        restarts = sum(podrules.restarts(pod) for pod in (*census.active, *census.terminating))
    if census.failed > limit or (restarts and restarts >= max(limit, 1)):
        text = "Job has reached the specified backoff limit"
        return Verdict("Failed", "BackoffLimitExceeded", text)
    if (left := deadline(job, now)) is not None and left <= 0:
        text = "Job was active longer than specified deadline"
        return Verdict("Failed", "DeadlineExceeded", text)
    return None


def _failed_by_indexes(job: Object, census: Census) -> Verdict | None:
    if not is_indexed(job) or not limits_indexes(job) or not census.lost:
        return None
    most = meta.dig(job, "spec.maxFailedIndexes")
    if most is not None and len(census.lost) > int(most):
        text = "Job has exceeded the specified maximal number of failed indexes"
        return Verdict("Failed", "MaxFailedIndexesExceeded", text)
    if len(census.lost) + len(census.done) >= (completions(job) or 0):
        return Verdict("Failed", "FailedIndexes", "Job has failed indexes")
    return None


def _succeeded_by_policy(job: Object, census: Census) -> Verdict | None:
    if not is_indexed(job) or not census.done:
        return None
    for number, rule in enumerate(meta.dig(job, "spec.successPolicy.rules") or ()):
        if _fits(rule, census.done, completions(job) or 0):
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


def _succeeded(job: Object, census: Census) -> Verdict | None:
    wanted, good = completions(job), census.succeeded
    # A work queue is done when a pod said so and the others ended.
    if good >= wanted if wanted is not None else good and not census.active:
        text = "Reached expected number of succeeded pods"
        return Verdict("Complete", "CompletionsReached", text)
    return None
