"""A Job's pods, sorted by what they mean for it, each counted once. Pure.

Pods carry a finalizer until they are counted, so that none is lost and none counts twice, even
if somebody deletes it: first its uid goes into status.uncountedTerminatedPods (a succeeded index
into status.completedIndexes), then its finalizer is taken off, then the number grows and the uid
leaves, in that order across crashes.
Source: k8s.io/kubernetes pkg/controller/job (job_controller.go, indexed_job_utils.go).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from bessemer.cluster.controllers.job import failures, indexes
from bessemer.control import pods as podrules
from bessemer.kinds import meta
from bessemer.kinds.kind import Object

FINALIZER = "batch.kubernetes.io/job-tracking"
# Uids noted in one status; the rest is for the next pass.
_NOTED = 500
_NEVER = datetime.min.replace(tzinfo=UTC)


class Fate(StrEnum):
    """What became of a pod."""

    OPEN = "open"  # it may still succeed
    SUCCEEDED = "succeeded"  # counts as a success
    FAILED = "failed"  # counts as a failure
    IGNORED = "ignored"  # failed, but a rule says that it doesn't count
    LET_GO = "let go"  # nobody asks any more how it ends


@dataclass
class PodCounts:
    """The pods by what they mean. ``uncounted`` and the numbers are the new status'."""

    active: list[Object] = field(default_factory=list)  # neither ended nor ending
    terminating: list[Object] = field(default_factory=list)
    numbers: dict[Fate, int] = field(default_factory=dict)  # counted for good
    uncounted: dict[Fate, list[str]] = field(default_factory=dict)  # uids noted, not yet so
    untrack: list[Object] = field(default_factory=list)  # the finalizer comes off
    pending: Counter[Fate] = field(default_factory=Counter)  # noted nowhere yet
    done: set[int] = field(default_factory=set)  # indexes that succeeded
    lost: set[int] = field(default_factory=set)  # indexes that are not tried again
    # The last failed pod of an index that waits for its next one: it tells how often it failed.
    held: dict[int, Object] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """All failures that count towards the back-off limit."""
        return self._all(Fate.FAILED)

    @property
    def succeeded(self) -> int:
        """All successes; of an Indexed Job its indexes."""
        return self._all(Fate.SUCCEEDED)

    def _all(self, fate: Fate) -> int:
        return self.numbers[fate] + len(self.uncounted[fate]) + self.pending[fate]


def is_indexed(job: Object) -> bool:
    """Whether each pod has a completion index."""
    return bool(meta.dig(job, "spec.completionMode") == "Indexed")


def limits_indexes(job: Object) -> bool:
    """Whether each index has a back-off limit of its own."""
    return meta.dig(job, "spec.backoffLimitPerIndex") is not None


def has(job: Object, condition: str) -> bool:
    """Whether the Job's condition of that type is True."""
    return (meta.condition(job, condition) or {}).get("status") == "True"


def has_tracking_finalizer(pod: Object) -> bool:
    """Whether it carries the finalizer."""
    return FINALIZER in (pod["metadata"].get("finalizers") or ())


def index_of(job: Object, pod: Object) -> int | None:
    """The pod's index, if it is one of the Job's."""
    index = indexes.of(pod)
    if index is None or index >= (meta.dig(job, "spec.completions") or 0):
        return None
    return index


def fate(job: Object, pod: Object) -> Fate:
    """What became of a pod that carries the finalizer."""
    if podrules.phase(pod) == "Succeeded":
        return Fate.SUCCEEDED
    if _has_failed(job, pod):
        return Fate.FAILED if failures.counts(job, pod) else Fate.IGNORED
    if meta.is_deleting(job) or has(job, "SuccessCriteriaMet"):
        return Fate.LET_GO
    # Once the Job has failed, what still runs has failed with it.
    return Fate.FAILED if has(job, "FailureTarget") else Fate.OPEN


def _has_failed(job: Object, pod: Object) -> bool:
    if podrules.phase(pod) == "Failed":
        return True
    if meta.dig(job, "spec.podReplacementPolicy") == "Failed":
        return _is_abandoned(pod)
    # A pod that is deleted may never get to say how it ended.
    return meta.is_deleting(pod)


def _is_abandoned(pod: Object) -> bool:
    """Whether it is deleted and no node will say how it ended."""
    unbound = not meta.dig(pod, "spec.nodeName")
    over = meta.dig(pod, "metadata.deletionGracePeriodSeconds") == 0
    return meta.is_deleting(pod) and (unbound or over)


def count(job: Object, pods: Iterable[Object]) -> PodCounts:
    """Sort the pods that the Job owns."""
    pods = list(pods)
    counts = PodCounts()
    alive = [pod for pod in pods if not podrules.is_finished(pod) and not _is_abandoned(pod)]
    counts.active = [pod for pod in alive if not meta.is_deleting(pod)]
    counts.terminating = [pod for pod in alive if meta.is_deleting(pod)]
    tracked = {meta.uid(pod): pod for pod in pods if has_tracking_finalizer(pod)}
    fresh = _carry_over(job, counts, tracked)
    fates = [(pod, fate(job, pod)) for pod in fresh]
    if is_indexed(job):
        fates = _count_indexes(job, counts, fates)
    _count(counts, fates)
    return counts


def _carry_over(job: Object, counts: PodCounts, tracked: Mapping[str, Object]) -> list[Object]:
    """Go on with what the status has noted; gives the pods that it has not."""
    before = meta.dig(job, "status.uncountedTerminatedPods") or {}
    known: set[str] = set()
    for key in (Fate.SUCCEEDED, Fate.FAILED):
        listed = set(before.get(key) or ())
        known |= listed
        here = sorted(listed & tracked.keys())
        # The others lost their finalizer after the status was written: now they count for good.
        grown = len(listed) - len(here)
        counts.numbers[key] = int(meta.dig(job, f"status.{key}", 0)) + grown
        counts.uncounted[key] = here
        counts.untrack += [tracked[uid] for uid in here]
    return [pod for uid, pod in tracked.items() if uid not in known]


def _count(counts: PodCounts, fates: list[tuple[Object, Fate]]) -> None:
    for pod, found in fates:
        if found in (Fate.IGNORED, Fate.LET_GO):
            counts.untrack.append(pod)
        elif found is not Fate.OPEN:
            noted = counts.uncounted[found]
            if len(noted) < _NOTED:
                noted.append(meta.uid(pod))
            else:
                counts.pending[found] += 1


# ---- indexed


def _count_indexes(
    job: Object, counts: PodCounts, fates: list[tuple[Object, Fate]]
) -> list[tuple[Object, Fate]]:
    """Note the indexes; gives what is left to count by uid."""
    completions = int(meta.dig(job, "spec.completions") or 0)
    stored = set(indexes.parse(str(meta.dig(job, "status.completedIndexes", "")), completions))
    counts.done = stored | {
        index
        for pod, found in fates
        if found is Fate.SUCCEEDED and (index := index_of(job, pod)) is not None
    }
    counts.numbers[Fate.SUCCEEDED], counts.uncounted[Fate.SUCCEEDED] = len(counts.done), []
    if limits_indexes(job):
        _limit(job, counts, fates)
    kept = {meta.uid(pod) for pod in counts.held.values()}
    left: list[tuple[Object, Fate]] = []
    for pod, found in fates:
        index = index_of(job, pod)
        if meta.uid(pod) in kept:
            counts.pending[Fate.FAILED] += found is Fate.FAILED
        elif found is Fate.SUCCEEDED and index in counts.done and index not in stored:
            continue  # once the index is noted
        elif found is Fate.SUCCEEDED or (found is Fate.FAILED and index is None):
            left.append((pod, Fate.LET_GO))
        else:
            left.append((pod, found))
    return left


def _limit(job: Object, counts: PodCounts, fates: list[tuple[Object, Fate]]) -> None:
    """Which indexes are lost, and which failed pods wait for their index' next one."""
    completions = int(meta.dig(job, "spec.completions") or 0)
    lost = indexes.parse(str(meta.dig(job, "status.failedIndexes", "")), completions)
    ended = [
        (index, pod, found)
        for pod, found in fates
        if (index := index_of(job, pod)) is not None and _has_failed(job, pod)
    ]
    counts.lost = set(lost) | {i for i, pod, found in ended if _loses_index(job, pod, found)}
    if has(job, "SuccessCriteriaMet") or has(job, "FailureTarget") or meta.is_deleting(job):
        return
    settled = counts.done | counts.lost | {indexes.of(pod) for pod in counts.active}
    for index, pod, _ in ended:
        if index not in settled and _lateness(pod) >= _lateness(counts.held.get(index)):
            counts.held[index] = pod


def _loses_index(job: Object, pod: Object, found: Fate) -> bool:
    rule = failures.match(job, pod)
    if rule is not None and rule.action is failures.Action.FAIL_INDEX:
        return True
    limit = int(meta.dig(job, "spec.backoffLimitPerIndex"))
    return found is Fate.FAILED and indexes.failures(pod).counted >= limit


def _lateness(pod: Object | None) -> tuple[int, datetime]:
    if pod is None:
        return -1, _NEVER
    return indexes.failures(pod).total, podrules.finished_at(pod) or _NEVER
