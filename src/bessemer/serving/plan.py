"""Decides which revisions exist, run and get traffic. Pure.

Traffic as KServe has it: the newest revision gets ``canaryTrafficPercent`` (all, when unset), the
one rolled out before it the rest; the first revision of all gets everything. What got everything
is *rolled out*, and what was so before is kept for a rollback.
Source: kserve pkg/controller/v1beta1/inferenceservice (ksvc reconciler, PropagateStatus).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from bessemer.base.clock import remaining

# How long a revision without traffic still answers: longer than the gateway needs to learn of it
# and than a usual request takes.
DRAIN = timedelta(seconds=5)


class Phase(StrEnum):
    """Where a revision is in its life."""

    STARTING = "Starting"  # deployed; its model is not loaded yet
    FAILED = "Failed"  # its model can't be loaded, or its container can't run
    SERVING = "Serving"  # gets traffic
    STANDBY = "Standby"  # the newest, ready, with 0 % of the traffic
    DRAINING = "Draining"  # lost its traffic, answers what still comes
    PARKED = "Parked"  # kept for a rollback, without pods


TRANSITIONS: Mapping[Phase, frozenset[Phase]] = {
    Phase.STARTING: frozenset({Phase.FAILED, Phase.SERVING, Phase.STANDBY, Phase.DRAINING}),
    Phase.FAILED: frozenset({Phase.STARTING, Phase.SERVING, Phase.STANDBY, Phase.DRAINING}),
    Phase.SERVING: frozenset({Phase.STANDBY, Phase.DRAINING}),
    Phase.STANDBY: frozenset({Phase.STARTING, Phase.FAILED, Phase.SERVING, Phase.DRAINING}),
    Phase.DRAINING: frozenset(
        {Phase.PARKED, Phase.STARTING, Phase.FAILED, Phase.SERVING, Phase.STANDBY}
    ),
    Phase.PARKED: frozenset({Phase.STARTING, Phase.FAILED, Phase.SERVING}),
}


@dataclass(frozen=True)
class Failure:
    """Why a revision's containers don't run."""

    reason: str  # "Error", "ImagePullBackOff", "Unschedulable"
    message: str
    exit_code: int = 0
    final: bool = True  # False: it only waits (no room on the node)


@dataclass(frozen=True)
class Revision:
    """A version of the predictor, as observed."""

    name: str
    number: int
    digest: str  # of the predictor's part that makes a revision
    replicas: int = 1  # asked for
    ready: int = 0  # that answer
    failure: Failure | None = None
    idle_since: datetime | None = None  # since when it gets no traffic
    waits_for: str = ""  # why a pod that runs takes no requests yet

    @property
    def is_ready(self) -> bool:
        """All that were asked for answer."""
        return 0 < self.replicas <= self.ready


@dataclass(frozen=True)
class Declared:
    """What the user wants. No digest: what is declared can't be served."""

    digest: str | None
    canary: int | None = None
    replicas: int = 1
    stopped: bool = False  # nothing is to run until this is taken back


@dataclass(frozen=True)
class Observed:
    """The world: revisions by age, the weights in force, what was rolled out."""

    revisions: tuple[Revision, ...] = ()
    weights: Mapping[str, int] | None = None
    rolled_out: str = ""
    previous: str = ""
    last_number: int = 0  # of the newest revision ever made
    routed: bool = True  # the gateway says that it follows those weights


@dataclass(frozen=True)
class Create:
    """Make a revision's Deployment and Service."""

    number: int
    digest: str


@dataclass(frozen=True)
class Scale:
    """Run that many pods of a revision."""

    name: str
    replicas: int


@dataclass(frozen=True)
class MarkIdle:
    """Remember since when a revision gets no traffic; None: it gets some, or soon will."""

    name: str
    since: datetime | None


@dataclass(frozen=True)
class Remove:
    """Delete a revision's Deployment and Service."""

    name: str


Action = Create | Scale | MarkIdle | Remove


@dataclass(frozen=True)
class Plan:
    """What to do, and what then holds.

    Attributes:
        lacking: the revisions that are to get traffic and can't take it yet.
    """

    actions: tuple[Action, ...]
    weights: Mapping[str, int]
    rolled_out: str
    previous: str
    latest: str
    lacking: tuple[str, ...] = ()
    look_again: timedelta | None = None


def plan(declared: Declared, observed: Observed, now: datetime) -> Plan:
    """The next steps from the world as it is towards what is declared."""
    revisions = {entry.name: entry for entry in observed.revisions}
    latest = max(observed.revisions, key=lambda entry: entry.number, default=None)
    if declared.stopped:
        # Nothing is kept for a rollback: what is declared then starts as the first would.
        removals = tuple(Remove(entry.name) for entry in observed.revisions)
        return Plan(removals, {}, "", "", latest.name if latest else "")
    current = {
        name: weight
        for name, weight in (observed.weights or {}).items()
        if name in revisions and weight
    }
    if declared.digest is not None and (latest is None or latest.digest != declared.digest):
        number = max(observed.last_number, latest.number if latest else 0) + 1
        return Plan(
            actions=(Create(number, declared.digest),),
            weights=current,
            rolled_out=observed.rolled_out,
            previous=observed.previous,
            latest="",  # it is not there yet, so nothing of it is ready
        )
    if latest is None:
        return Plan((), {}, observed.rolled_out, observed.previous, "")
    wanted = split(
        latest.name,
        observed.rolled_out if observed.rolled_out in revisions else "",
        observed.previous if observed.previous in revisions else "",
        declared.canary,
    )
    lacking = _find_lacking(wanted, current, revisions)
    weights = current if lacking else wanted
    rolled_out, previous = _roll_out(weights, observed)
    busy = {name for name, weight in (*wanted.items(), *weights.items()) if weight}
    # What the gateway may still send to is not to end: it counts as idle once that is over.
    settled = observed.routed and {name: one for name, one in weights.items() if one} == current
    keeper = _Keeper(declared, busy | {latest.name}, (previous if settled else None), now)
    actions = [action for entry in observed.revisions for action in keeper.keep(entry)]
    return Plan(
        actions=tuple(actions),
        weights={**weights, latest.name: weights.get(latest.name, 0)},
        rolled_out=rolled_out,
        previous=previous,
        latest=latest.name,
        lacking=lacking,
        look_again=keeper.look_again,
    )


def split(latest: str, rolled_out: str, previous: str, canary: int | None) -> dict[str, int]:
    """Percent by revision name. Names are empty where there is no such revision."""
    other = previous if rolled_out == latest else rolled_out
    if not other or canary is None or canary == 100:
        return {latest: 100}
    return {latest: canary, other: 100 - canary}


def _find_lacking(
    wanted: Mapping[str, int], current: Mapping[str, int], revisions: Mapping[str, Revision]
) -> tuple[str, ...]:
    """The revisions that would get traffic, have none yet and can't take it."""
    return tuple(
        name
        for name, weight in wanted.items()
        if weight and not revisions[name].is_ready and not current.get(name)
    )


def _roll_out(weights: Mapping[str, int], observed: Observed) -> tuple[str, str]:
    for name, weight in weights.items():
        if weight == 100 and name != observed.rolled_out:
            return name, observed.rolled_out
    return observed.rolled_out, observed.previous


class _Keeper:
    """Decides for each revision whether it runs, drains, is parked or goes."""

    def __init__(
        self, declared: Declared, running: set[str], previous: str | None, now: datetime
    ) -> None:
        self._replicas = max(1, declared.replicas)
        self._running = running
        self._previous = previous
        self._now = now
        self.look_again: timedelta | None = None

    def keep(self, entry: Revision) -> list[Action]:
        if entry.name in self._running:
            actions: list[Action] = []
            if entry.idle_since is not None:
                actions.append(MarkIdle(entry.name, None))
            if entry.replicas != self._replicas:
                actions.append(Scale(entry.name, self._replicas))
            return actions
        if self._previous is None:
            return []
        if entry.idle_since is None:
            self._wait(DRAIN)
            return [MarkIdle(entry.name, self._now)]
        left = timedelta(seconds=remaining(entry.idle_since, DRAIN.total_seconds(), self._now))
        if left > timedelta(0):
            self._wait(left)
            return []
        if entry.name != self._previous:
            return [Remove(entry.name)]
        return [Scale(entry.name, 0)] if entry.replicas else []

    def _wait(self, left: timedelta) -> None:
        if self.look_again is None or left < self.look_again:
            self.look_again = left


def phase(entry: Revision, weights: Mapping[str, int], latest: str) -> Phase:
    """Where the revision is in its life, under these weights."""
    if weights.get(entry.name, 0) > 0:
        return Phase.SERVING
    if entry.idle_since is not None:
        return Phase.DRAINING if entry.replicas else Phase.PARKED
    if entry.is_ready:
        return Phase.STANDBY if entry.name == latest else Phase.DRAINING
    if entry.failure is not None and entry.failure.final:
        return Phase.FAILED
    return Phase.STARTING
