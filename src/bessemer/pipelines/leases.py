"""Which runs this replica drives: whom it takes for dead, what it takes over and looks at. Pure.

Of several replicas each drives runs of its own: those that were made through it, and those that it
took. A replica counts on in the database now and then; one whose count stands still for
``LEASE_SECONDS`` *as another one watches it*, on that one's monotonic clock, is dead for it, and
its runs are taken over. So one row is written for all runs of a replica, however many it has, and
no clock is compared with another.

What a replica did not notice to have lost does no harm: the history refuses what it writes, by the
run's generation, and the pods that it may still make have the names that its successor gives them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from bessemer.pipelines.records import RunState, Unfinished

LEASE_SECONDS = 15.0
# For how long a replica drives on that could not tell that it lives.
DEADLINE_SECONDS = 10.0
LOOK_SECONDS = 3.0
# Where there is no other replica: only for wake-ups that were missed.
ALONE_LOOK_SECONDS = 30.0


@dataclass(frozen=True)
class Replica:
    """An engine among others.

    Attributes:
        id: another one for each process, also after a restart: whoever has it may write.
        is_alone: there can be no other one, as who holds a home's lock knows. It takes what is
            unfinished at once, and has nobody to tell that it lives.
    """

    id: str
    is_alone: bool = False

    @property
    def look_seconds(self) -> float:
        """How long a run that another one made or left may wait to be seen, at most."""
        return ALONE_LOOK_SECONDS if self.is_alone else LOOK_SECONDS


@dataclass
class Tenure:
    """Until when a replica may drive its runs."""

    replica: Replica
    _told: float | None = None  # when it last told that it lives, monotonic seconds

    def renew(self, at: float) -> None:
        """It told that it lives, and began to do so then."""
        self._told = at

    def holds(self, at: float) -> bool:
        """Whether nobody can have taken it for dead by then."""
        if self.replica.is_alone:
            return True
        return self._told is not None and at < self._told + DEADLINE_SECONDS


@dataclass
class Watched:
    """The other replicas' counts, and since when each stands."""

    _since: dict[str, tuple[int, float]] = field(default_factory=dict)

    def observe(self, owners: Iterable[str], beats: Mapping[str, int], at: float) -> None:
        """Hold the counts of these owners against the last ones; one who has none counts as 0."""
        before, self._since = self._since, {}
        for owner in owners:
            count = beats.get(owner, 0)
            known = before.get(owner)
            kept = known is not None and known[0] == count
            self._since[owner] = known if kept and known is not None else (count, at)

    def dead(self, at: float) -> dict[str, int]:
        """Those who stand still for too long, with their counts."""
        return {
            owner: count
            for owner, (count, since) in self._since.items()
            if at >= since + LEASE_SECONDS
        }


@dataclass(frozen=True)
class Steps:
    """What follows from a look at the unfinished runs."""

    take: list[Unfinished]  # to be made this replica's own, and then looked at
    look: set[str]  # to be looked at: nobody drives them yet, or somebody else changed their row


def decide(
    replica: Replica,
    unfinished: Iterable[Unfinished],
    dead: Collection[str],
    driven: Mapping[str, bool],
) -> Steps:
    """Hold the unfinished runs against those that are driven.

    ``dead`` are owners that are taken for dead; ``driven`` the runs that were driven here before
    the unfinished ones were read, and whether each is known to be asked to end.
    """
    steps = Steps([], set())
    own = set()
    for run in unfinished:
        owner = run.lease.owner
        if owner == replica.id:
            own.add(run.id)
            is_told = driven.get(run.id)
            if is_told is None or (run.state is RunState.CANCELING and not is_told):
                steps.look.add(run.id)
        elif not owner or replica.is_alone or owner in dead:
            steps.take.append(run)
    # Ended, deleted, or another one's by now.
    steps.look.update(driven.keys() - own)
    return steps
