"""A Job's next step: pods to make and to end, pods to count, the status. Pure.

Pods carry a finalizer until they are counted, so that none is lost and none counts twice, even
if somebody deletes it: first its uid goes into status.uncountedTerminatedPods, then its finalizer
is taken off, then the number grows and the uid leaves, in that order across crashes.
Source: k8s.io/kubernetes pkg/controller/job.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from bessemer.base.clock import format_time, parse_time
from bessemer.cluster.workloads import pods as podrules
from bessemer.cluster.workloads.job import indexes
from bessemer.resources import meta
from bessemer.resources.kind import Object

FINALIZER = "batch.kubernetes.io/job-tracking"
_BACKOFF = 10.0  # seconds after the first failure, doubled each time
_BACKOFF_CAP = 600.0  # seconds


@dataclass(frozen=True)
class Verdict:
    """How a Job ends, or ended."""

    type: str  # Complete or Failed
    reason: str
    message: str


@dataclass(frozen=True)
class Plan:
    """What to do, in this order: status, finalizers, deletions, creations."""

    status: Object
    uncover: tuple[Object, ...] = ()  # counted pods: take the finalizer off
    delete: tuple[Object, ...] = ()
    create: tuple[int | None, ...] = ()  # one entry a pod: its completion index, or None
    look_again_after: float | None = None
    verdict: Verdict | None = None  # newly reached


@dataclass(frozen=True)
class _Count:
    """The pods, sorted by what they mean for the Job."""

    active: list[Object]  # neither ended nor ending
    terminating: list[Object]
    succeeded: int
    failed: int
    uncounted: dict[str, list[str]]
    uncover: list[Object]
    indexes: frozenset[int]  # that succeeded


def is_indexed(job: Object) -> bool:
    """Whether each pod has a completion index."""
    return bool(meta.dig(job, "spec.completionMode") == "Indexed")


def is_finished(job: Object) -> bool:
    """Whether it is Complete or Failed for good."""
    return any(
        (meta.condition(job, type_) or {}).get("status") == "True"
        for type_ in ("Complete", "Failed")
    )


def is_suspended(job: Object) -> bool:
    """Whether its pods are to wait."""
    return bool(meta.dig(job, "spec.suspend"))


def expires_in(job: Object, now: datetime) -> float | None:
    """Seconds until a finished Job may be deleted; None when it stays."""
    ttl = meta.dig(job, "spec.ttlSecondsAfterFinished")
    if ttl is None or not is_finished(job):
        return None
    ended = [
        parse_time(entry["lastTransitionTime"])
        for type_ in ("Complete", "Failed")
        if (entry := meta.condition(job, type_)) and entry.get("status") == "True"
    ]
    return (max(ended) + timedelta(seconds=int(ttl)) - now).total_seconds()


def make(job: Object, pods: Iterable[Object], now: datetime) -> Plan:
    """The next step of a Job that is not finished (of a finished one: only the counting)."""
    count = _count(job, list(pods))
    status = _status(job, count, now)
    if is_finished(job) or meta.is_deleting(job):
        return Plan(_tidy(status), uncover=tuple(count.uncover), delete=_extra(count, 0))
    verdict = _standing(job) or _judge(job, count, now)
    if verdict is not None:
        return _end(job, status, count, verdict, now)
    again = [_deadline(job, now)]
    delete: tuple[Object, ...] = ()
    create: tuple[int | None, ...] = ()
    if is_suspended(job):
        delete = _extra(count, 0)
    else:
        delete = _extra(count, _wanted(job, count))
        create, wait = _missing(job, count, list(pods), now)
        again.append(wait)
    status["conditions"] = _suspension(job, status, now)
    waits = [seconds for seconds in again if seconds is not None]
    return Plan(
        _tidy(status),
        tuple(count.uncover),
        delete,
        create,
        look_again_after=max(min(waits), 0.01) if waits else None,
    )


def _count(job: Object, pods: list[Object]) -> _Count:
    before = meta.dig(job, "status.uncountedTerminatedPods") or {}
    listed: Mapping[str, set[str]] = {
        "succeeded": set(before.get("succeeded") or ()),
        "failed": set(before.get("failed") or ()),
    }
    numbers = {key: int(meta.dig(job, f"status.{key}", 0)) for key in listed}
    covered = {meta.uid(pod): pod for pod in pods if FINALIZER in _finalizers(pod)}
    uncounted: dict[str, list[str]] = {"succeeded": [], "failed": []}
    done = set(indexes.parse(str(meta.dig(job, "status.completedIndexes", ""))))
    for key, uids in listed.items():
        numbers[key] += len(uids - covered.keys())  # the finalizer is off: the number grows
        uncounted[key] = sorted(uids & covered.keys())
    uncover = [covered[uid] for uids in uncounted.values() for uid in uids]
    known = listed["succeeded"] | listed["failed"]
    for uid, pod in covered.items():
        outcome = _outcome(pod)
        if outcome and uid not in known:
            uncounted[outcome].append(uid)
        if outcome == "succeeded" and (index := indexes.of(pod)) is not None:
            done.add(index)
    if is_indexed(job):
        numbers["succeeded"] = len(done)
    alive = [pod for pod in pods if not podrules.is_finished(pod) and not _is_abandoned(pod)]
    return _Count(
        active=[pod for pod in alive if not meta.is_deleting(pod)],
        terminating=[pod for pod in alive if meta.is_deleting(pod)],
        succeeded=numbers["succeeded"],
        failed=numbers["failed"],
        uncounted=uncounted,
        uncover=uncover,
        indexes=frozenset(done),
    )


def _outcome(pod: Object) -> str:
    """succeeded, failed, or nothing yet. A pod deleted before its end counts as failed."""
    match podrules.phase(pod):
        case "Succeeded":
            return "succeeded"
        case "Failed":
            return "failed"
        case _:
            return "failed" if _is_abandoned(pod) else ""


def _is_abandoned(pod: Object) -> bool:
    """Whether it is deleted and no node will say how it ended."""
    unbound = not meta.dig(pod, "spec.nodeName")
    over = meta.dig(pod, "metadata.deletionGracePeriodSeconds") == 0
    return meta.is_deleting(pod) and (unbound or over)


def _finalizers(pod: Object) -> list[str]:
    return pod["metadata"].get("finalizers") or []


def _succeeded(job: Object, count: _Count) -> int:
    if is_indexed(job):
        return len(count.indexes)
    return count.succeeded + len(count.uncounted["succeeded"])


def _failed(count: _Count) -> int:
    return count.failed + len(count.uncounted["failed"])


def _completions(job: Object) -> int | None:
    value = meta.dig(job, "spec.completions")
    return None if value is None else int(value)


def _status(job: Object, count: _Count, now: datetime) -> Object:
    old = job.get("status") or {}
    status: Object = {**old}
    status["active"] = len(count.active)
    status["ready"] = sum(podrules.is_ready(pod) for pod in count.active)
    status["terminating"] = len(count.terminating)
    status["succeeded"] = count.succeeded
    status["failed"] = count.failed
    status["uncountedTerminatedPods"] = {k: v for k, v in count.uncounted.items() if v}
    if is_indexed(job):
        status["completedIndexes"] = indexes.format_ranges(count.indexes)
    if "startTime" not in status and not is_suspended(job):
        status["startTime"] = format_time(now)
    return status


def _tidy(status: Object) -> Object:
    """Upstream leaves zero counts out (but ready, terminating and the uncounted)."""
    kept = ("ready", "terminating", "uncountedTerminatedPods")
    return {key: value for key, value in status.items() if value or key in kept}


def _standing(job: Object) -> Verdict | None:
    """The verdict that was reached before, while the last pods end."""
    for interim, final in (("SuccessCriteriaMet", "Complete"), ("FailureTarget", "Failed")):
        entry = meta.condition(job, interim)
        if entry and entry.get("status") == "True":
            return Verdict(final, entry.get("reason", ""), entry.get("message", ""))
    return None


def _judge(job: Object, count: _Count, now: datetime) -> Verdict | None:
    if is_suspended(job):
        return None
    limit = int(meta.dig(job, "spec.backoffLimit", 6))
    restarts = 0
    if meta.dig(job, "spec.template.spec.restartPolicy") == "OnFailure":
        restarts = sum(podrules.restarts(pod) for pod in count.active)
    if _failed(count) > limit or (restarts and restarts >= max(limit, 1)):
        return Verdict(
            "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"
        )
    if (left := _deadline(job, now)) is not None and left <= 0:
        text = "Job was active longer than specified deadline"
        return Verdict("Failed", "DeadlineExceeded", text)
    completions, good = _completions(job), _succeeded(job, count)
    ended = good and not count.active and not count.terminating
    if good >= completions if completions is not None else ended:
        text = "Reached expected number of succeeded pods"
        return Verdict("Complete", "CompletionsReached", text)
    return None


def _deadline(job: Object, now: datetime) -> float | None:
    """Seconds left of activeDeadlineSeconds."""
    seconds, start = meta.dig(job, "spec.activeDeadlineSeconds"), meta.dig(job, "status.startTime")
    if seconds is None or start is None or is_suspended(job):
        return None
    return (parse_time(start) + timedelta(seconds=int(seconds)) - now).total_seconds()


def _end(job: Object, status: Object, count: _Count, verdict: Verdict, now: datetime) -> Plan:
    """Say where it goes; say that it is there once no pod runs and every pod is counted."""
    interim = "SuccessCriteriaMet" if verdict.type == "Complete" else "FailureTarget"
    reached = [_condition(interim, "True", verdict.reason, verdict.message)]
    pending = count.active or count.terminating or any(count.uncounted.values())
    if not pending:
        reached.append(_condition(verdict.type, "True", verdict.reason, verdict.message))
        if verdict.type == "Complete":
            status["completionTime"] = format_time(now)
    status["conditions"] = meta.merge_conditions(status.get("conditions") or (), reached, now)
    return Plan(
        _tidy(status),
        uncover=tuple(count.uncover),
        delete=_extra(count, 0),
        verdict=None if pending else verdict,
    )


def _suspension(job: Object, status: Object, now: datetime) -> list[Object]:
    current = list(status.get("conditions") or ())
    was = (meta.condition(job, "Suspended") or {}).get("status") == "True"
    if is_suspended(job) and not was:
        status.pop("startTime", None)
        entry = _condition("Suspended", "True", "JobSuspended", "Job suspended")
    elif was and not is_suspended(job):
        status["startTime"] = format_time(now)
        entry = _condition("Suspended", "False", "JobResumed", "Job resumed")
    else:
        return current
    return meta.merge_conditions(current, [entry], now)


def _wanted(job: Object, count: _Count) -> int:
    """How many pods may be active now."""
    parallelism = int(meta.dig(job, "spec.parallelism", 1))
    completions = _completions(job)
    if completions is not None:
        return min(parallelism, max(0, completions - _succeeded(job, count)))
    # A work queue: once a pod succeeded, no new ones start.
    return min(parallelism, len(count.active)) if _succeeded(job, count) else parallelism


def _extra(count: _Count, wanted: int) -> tuple[Object, ...]:
    if len(count.active) <= wanted:
        return ()
    return tuple(podrules.victims_first(count.active)[: len(count.active) - wanted])


def _missing(
    job: Object, count: _Count, pods: list[Object], now: datetime
) -> tuple[tuple[int | None, ...], float | None]:
    """Pods to make now, and else the seconds until the back-off is over."""
    # Terminating pods still use their place, as podReplacementPolicy says for failed ones only.
    room = _wanted(job, count) - len(count.active)
    if meta.dig(job, "spec.podReplacementPolicy") == "Failed":
        room -= len(count.terminating)
    if room <= 0:
        return (), None
    wait = _backoff(pods, now)
    if wait > 0:
        return (), wait
    if not is_indexed(job):
        return (None,) * room, None
    used = {indexes.of(pod) for pod in (*count.active, *count.terminating)} | count.indexes
    free = (index for index in range(_completions(job) or 0) if index not in used)
    return tuple(index for index, _ in zip(free, range(room), strict=False)), None


def _backoff(pods: list[Object], now: datetime) -> float:
    """Seconds left to wait after the failures since the last success."""
    ends: dict[str, list[datetime]] = {"Succeeded": [], "Failed": []}
    for pod in pods:
        moment = podrules.finished_at(pod) if podrules.is_finished(pod) else None
        if moment is not None:
            ends[podrules.phase(pod)].append(moment)
    since = max(ends["Succeeded"], default=None)
    failures = [end for end in ends["Failed"] if since is None or end >= since]
    if not failures:
        return 0.0
    delay = min(_BACKOFF * 2 ** min(len(failures) - 1, 10), _BACKOFF_CAP)
    return (max(failures) + timedelta(seconds=delay) - now).total_seconds()


def _condition(type_: str, status: str, reason: str, message: str) -> Object:
    return {"type": type_, "status": status, "reason": reason, "message": message}
