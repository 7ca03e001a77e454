"""A replica's hold on its runs: telling that it lives, taking runs, and not acting without.

``leases`` decides; here is the history that it is about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bessemer.base import logs
from bessemer.base.clock import Clock
from bessemer.base.logs import fields
from bessemer.database.errors import DatabaseError
from bessemer.pipelines import leases
from bessemer.pipelines.errors import LeaseLost
from bessemer.pipelines.leases import Replica, Tenure
from bessemer.pipelines.records import History, Lease, Run, Unfinished

_log = logs.get(__name__)


class Ownership:
    """Which runs are this replica's."""

    def __init__(self, history: History, replica: Replica, clock: Clock) -> None:
        self.replica = replica
        self._history = history
        self._clock = clock
        self._tenure = Tenure(replica)
        self._watched = leases.Watched()
        self._others: set[str] = set()  # runs that others drive, as of the last look

    def is_anothers(self, run_id: str) -> bool:
        """Whether another replica drives the run, as far as is known: then nothing is read."""
        return run_id in self._others

    def forget(self, run_id: str) -> None:
        """Somebody changed the run here: who drives it has to be read."""
        self._others.discard(run_id)

    def check(self, run_id: str) -> None:
        """Let the run be driven on.

        Raises:
            LeaseLost: for too long the others were not told that this replica lives.
        """
        if not self._tenure.holds(self._clock.monotonic()):
            raise LeaseLost(
                "a replica drives runs as long as it can tell that it lives, but "
                f"{self.replica.id} could not; run {run_id} waits until it can, or is another's"
            )

    async def claim(self, run: Run) -> Run:
        """The run as this replica's own, taken if nobody drives it.

        Raises:
            LeaseLost: another one drives it, or took it just now.
        """
        owner, generation = run.lease
        if owner == self.replica.id:
            return run
        if not owner or self.replica.is_alone:
            seen = Unfinished(run.id, run.state, run.lease)
            others: dict[str, int] | None = None if self.replica.is_alone else {}
            if await self._history.take(self.replica.id, [seen], others):
                return replace(run, lease=Lease(self.replica.id, generation + 1))
        raise LeaseLost(f"a run is driven by its owner alone, which is {owner!r} for {run.id}")

    async def look(self, driven: Mapping[str, bool]) -> set[str]:
        """Tell that this replica lives, and take what others left; the runs to be looked at.

        Those of them that are driven must be read again: somebody else changed them. ``driven``
        tells of each whether it is known to be asked to end.
        """
        found: set[str] = set()
        if not self.replica.is_alone:
            begun = self._clock.monotonic()
            if not await self._history.beat(self.replica.id):
                found.update(driven)  # it was taken for dead: what it drove may be another's
            self._tenure.renew(begun)
        unfinished = await self._history.list_unfinished()
        dead = None if self.replica.is_alone else await self._watch(unfinished)
        steps = leases.decide(self.replica, unfinished, dead or (), driven)
        if steps.take:
            taken = await self._history.take(self.replica.id, steps.take, dead)
            _log.info("took runs", extra=fields(replica=self.replica.id, count=len(taken)))
            found |= taken
        own = {run.id for run in unfinished if run.lease.owner == self.replica.id}
        self._others = {run.id for run in unfinished} - own - found
        return found | steps.look

    async def _watch(self, unfinished: list[Unfinished]) -> dict[str, int]:
        """The owners of unfinished runs who are dead."""
        owners = {run.lease.owner for run in unfinished} - {"", self.replica.id}
        beats = await self._history.beats() if owners else {}
        now = self._clock.monotonic()
        self._watched.observe(owners, beats, now)
        return self._watched.dead(now)

    async def release(self) -> None:
        """Let the other replicas have the runs at once: nothing is driven here any more."""
        if self.replica.is_alone:
            return
        try:
            await self._history.release(self.replica.id)
        except DatabaseError as error:  # they take them when this one is dead for them
            _log.warning("runs not let go of", extra=fields(reason=str(error)))
