"""A Job's next step: pods to make and to end, pods to count, the status. Pure.

``pod_tracking`` sorts and counts the pods, ``verdicts`` says whether the Job ends, ``failures``
reads the podFailurePolicy, ``indexes`` knows completion indexes; here the step is put together.
Source: k8s.io/kubernetes pkg/controller/job.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from bessemer.base.clock import format_time, later, parse_time, remaining
from bessemer.cluster.controllers import victims
from bessemer.cluster.controllers.job import failures, indexes, pod_tracking, verdicts
from bessemer.cluster.controllers.job.pod_tracking import (
    FINALIZER,
    PodCounts,
    has,
    is_indexed,
    limits_indexes,
)
from bessemer.cluster.controllers.job.verdicts import Verdict, is_suspended
from bessemer.control import pods as podrules
from bessemer.kinds import meta
from bessemer.kinds.kind import Object

__all__ = [
    "CONTROLLER", "FINALIZER", "Plan", "Verdict", "expires_in", "is_finished", "is_ours", "make",
]  # fmt: skip

#: Who runs Jobs that name nobody else in spec.managedBy.
CONTROLLER = "kubernetes.io/job-controller"
_BACKOFF = 10.0  # seconds after the first failure, doubled each time
_BACKOFF_CAP = 600.0  # seconds
_BURST = 500  # pods made or ended in one pass, as upstream


@dataclass(frozen=True)
class Plan:
    """What to do, in this order: status, finalizers, deletions, creations."""

    status: Object
    untrack: tuple[Object, ...] = ()  # counted pods: take the finalizer off
    drop: tuple[Object, ...] = ()  # unwanted pods: take the finalizer off, and end them
    delete: tuple[Object, ...] = ()  # pods of a Job that failed: end them, they count
    create: tuple[int | None, ...] = ()  # one entry a pod: its completion index, or None
    # How often these indexes failed so far, where that is limited.
    failures: Mapping[int, indexes.Failures] = field(default_factory=dict)
    look_again_after: float | None = None
    verdict: Verdict | None = None  # newly reached
    suspension: str = ""  # newly so: Suspended or Resumed


def is_finished(job: Object) -> bool:
    """Whether it is Complete or Failed for good."""
    return has(job, "Complete") or has(job, "Failed")


def is_ours(job: Object) -> bool:
    """Whether this controller runs it."""
    return bool(meta.dig(job, "spec.managedBy", CONTROLLER) == CONTROLLER)


def expires_in(job: Object, now: datetime) -> float | None:
    """Seconds until a finished Job may be deleted; None when it stays, or is going already."""
    ttl = meta.dig(job, "spec.ttlSecondsAfterFinished")
    if ttl is None or not is_finished(job) or meta.is_deleting(job):
        return None
    ended = [
        parse_time(entry["lastTransitionTime"])
        for type_ in ("Complete", "Failed")
        if (entry := meta.condition(job, type_)) and entry.get("status") == "True"
    ]
    return (later(max(ended), int(ttl)) - now).total_seconds()


def make(job: Object, pods: Iterable[Object], now: datetime) -> Plan:
    """The next step of a Job of ours (of a finished or deleted one: only the counting)."""
    pods = list(pods)
    if is_finished(job):
        tracked = tuple(pod for pod in pods if pod_tracking.has_tracking_finalizer(pod))
        return Plan(job["status"], untrack=tracked)
    counts = pod_tracking.count(job, pods)
    status = _status(job, counts, now)
    if meta.is_deleting(job):
        # Its pods are the garbage collector's: they may be meant to outlive it.
        return Plan(_tidy(status), untrack=tuple(counts.untrack))
    verdict = verdicts.judge(job, counts, pods, now)
    if verdict is not None:
        return _end(status, counts, verdict, now)
    drop = _unwanted(job, counts)
    create: tuple[int | None, ...] = ()
    wait: float | None = None
    if not drop and not is_suspended(job):
        create, wait = _missing(job, counts, pods, now)
    suspension = _suspend(job, status, now)
    waits = [left for left in (verdicts.deadline(job, now), wait) if left is not None]
    return Plan(
        _tidy(status),
        tuple(counts.untrack),
        drop,
        create=create,
        failures=_failures_before(job, counts, create),
        look_again_after=max(min(waits), 0.01) if waits else None,
        suspension=suspension,
    )


# ---- the status


def _status(job: Object, counts: PodCounts, now: datetime) -> Object:
    status: Object = {**(job.get("status") or {})}
    status["active"] = len(counts.active)
    status["ready"] = sum(podrules.is_ready(pod) for pod in counts.active)
    status["terminating"] = len(counts.terminating)
    status |= {fate.value: number for fate, number in counts.numbers.items()}
    noted = {fate.value: uids for fate, uids in counts.uncounted.items() if uids}
    status["uncountedTerminatedPods"] = noted
    if is_indexed(job):
        status["completedIndexes"] = indexes.format_ranges(counts.done)
        if limits_indexes(job):
            status["failedIndexes"] = indexes.format_ranges(counts.lost)
    if "startTime" not in status and not is_suspended(job):
        status["startTime"] = format_time(now)
    return status


def _tidy(status: Object) -> Object:
    """Upstream leaves zero counts out, but for what it keeps as pointers."""
    kept = ("ready", "terminating", "uncountedTerminatedPods", "failedIndexes")
    return {key: value for key, value in status.items() if value or key in kept}


def _end(status: Object, counts: PodCounts, verdict: Verdict, now: datetime) -> Plan:
    """Say where it goes; say that it is there once no pod runs and every pod is counted."""
    told = {"status": "True", "reason": verdict.reason, "message": verdict.message}
    reached = [{"type": verdicts.INTERIM[verdict.type], **told}]
    uncounted = any(counts.uncounted.values()) or counts.untrack or counts.pending.total()
    over = not (counts.active or counts.terminating or uncounted)
    if over:
        reached.append({"type": verdict.type, **told})
        if verdict.type == "Complete":
            status["completionTime"] = format_time(now)
    status["conditions"] = meta.merge_conditions(status.get("conditions") or (), reached, now)
    failed = verdict.type == "Failed"
    return Plan(
        _tidy(status),
        untrack=tuple(counts.untrack),
        # What still runs counts as a failure of a Job that failed, and not of one that succeeded.
        drop=() if failed else tuple(counts.active),
        delete=tuple(counts.active) if failed else (),
        verdict=verdict if over else None,
    )


def _suspend(job: Object, status: Object, now: datetime) -> str:
    """Set the condition; the answer is what is new."""
    current = status.get("conditions") or ()
    was = has(job, "Suspended")
    if is_suspended(job) == was:
        return ""
    if is_suspended(job):
        status.pop("startTime", None)
        entry = {"status": "True", "reason": "JobSuspended", "message": "Job suspended"}
    else:
        status["startTime"] = format_time(now)  # the deadline counts from its new start
        entry = {"status": "False", "reason": "JobResumed", "message": "Job resumed"}
    status["conditions"] = meta.merge_conditions(current, [{"type": "Suspended", **entry}], now)
    return "Resumed" if was else "Suspended"


# ---- pods to end


def _wanted(job: Object, counts: PodCounts) -> int:
    """How many pods may be active now."""
    if is_suspended(job):
        return 0
    parallelism = int(meta.dig(job, "spec.parallelism", 1))
    completions = verdicts.completions(job)
    if completions is not None:
        return min(parallelism, max(0, completions - counts.succeeded))
    # A work queue: once a pod succeeded, those that run go on, and no new ones start.
    return len(counts.active) if counts.succeeded else parallelism


def _unwanted(job: Object, counts: PodCounts) -> tuple[Object, ...]:
    """Active pods beyond the wanted number; of an Indexed Job also twins and strangers."""
    wanted = _wanted(job, counts)
    order = victims.victims_first(counts.active)
    if not is_indexed(job):
        return tuple(order[: max(0, len(order) - wanted)][:_BURST])
    taken: set[int] = set()
    twins, others = [], []
    for pod in reversed(order):  # the one that is worth most stays
        index = pod_tracking.index_of(job, pod)
        if index is None or index in taken:
            twins.append(pod)
        else:
            taken.add(index)
            others.append(pod)
    others.reverse()
    return tuple([*twins, *others[: max(0, len(others) - wanted)]][:_BURST])


# ---- pods to make


def _missing(
    job: Object, counts: PodCounts, pods: list[Object], now: datetime
) -> tuple[tuple[int | None, ...], float | None]:
    """Pods to make now, and else the seconds until the back-off is over."""
    room = _wanted(job, counts) - len(counts.active)
    if meta.dig(job, "spec.podReplacementPolicy") == "Failed":
        room -= len(counts.terminating)
    room = min(room, _BURST)
    if room <= 0:
        return (), None
    if limits_indexes(job):
        return _missing_indexes(job, counts, room, now)
    wait = _backoff(pods, now)
    if wait > 0:
        return (), wait
    if not is_indexed(job):
        return (None,) * room, None
    return tuple(_free_indexes(job, counts, room)), None


def _free_indexes(job: Object, counts: PodCounts, room: int) -> list[int]:
    """The lowest indexes that nobody works on."""
    busy = list(counts.active)
    if meta.dig(job, "spec.podReplacementPolicy") == "Failed":
        busy += counts.terminating
    used = {indexes.of(pod) for pod in busy} | counts.done | counts.lost
    free = (index for index in range(verdicts.completions(job) or 0) if index not in used)
    return [index for index, _ in zip(free, range(room), strict=False)]


def _missing_indexes(
    job: Object, counts: PodCounts, room: int, now: datetime
) -> tuple[tuple[int | None, ...], float | None]:
    """As ``_missing``, where each index backs off by itself."""
    ready: list[int] = []
    waits: list[float] = []
    for index in _free_indexes(job, counts, room):
        pod = counts.held.get(index)
        left = 0.0
        if pod is not None and (end := podrules.finished_at(pod)) is not None:
            left = _remaining(indexes.failures(pod).total + 1, end, now)
        if left > 0:
            waits.append(left)
        else:
            ready.append(index)
    return tuple(ready), min(waits, default=None)


def _failures_before(
    job: Object, counts: PodCounts, create: tuple[int | None, ...]
) -> dict[int, indexes.Failures]:
    """What the new pods of a Job with limited indexes are told of their index' past."""
    if not limits_indexes(job):
        return {}
    found = {}
    for index in create:
        if index is None:
            continue
        before = indexes.Failures()
        if pod := counts.held.get(index):
            counted, ignored = indexes.failures(pod)
            one = int(failures.counts(job, pod))
            before = indexes.Failures(counted + one, ignored + 1 - one)
        found[index] = before
    return found


def _backoff(pods: list[Object], now: datetime) -> float:
    """Seconds left to wait after the failures since the last success."""
    ends: dict[str, list[datetime]] = {"Succeeded": [], "Failed": []}
    for pod in pods:
        moment = podrules.finished_at(pod) if podrules.is_finished(pod) else None
        if moment is not None:
            ends[podrules.phase(pod)].append(moment)
    since = max(ends["Succeeded"], default=None)
    failed = [end for end in ends["Failed"] if since is None or end >= since]
    return _remaining(len(failed), max(failed), now) if failed else 0.0


def _remaining(failed: int, last: datetime, now: datetime) -> float:
    """Seconds left to wait after so many failures, the last of which was then."""
    delay = min(_BACKOFF * 2 ** min(failed - 1, 10), _BACKOFF_CAP)
    return remaining(last, delay, now)
