"""Replicas that beat, take, save, let go and die in any order, held against a small model."""

import random
from dataclasses import dataclass, field

import pytest

from bessemer.pipelines.errors import LeaseLost
from bessemer.pipelines.records import NOBODYS, History, Lease, Unfinished

from .conftest import World, make_run
from .test_laws import make_task

REPLICAS = ("a", "b", "c")
RUNS = tuple(f"r{number}" for number in range(4))
STEPS = 150


@dataclass
class Play:
    """Replicas' deeds; what is stored after them, and what each replica believes to have."""

    history: History
    chance: random.Random
    leases: dict[str, Lease] = field(default_factory=dict)
    beats: dict[str, int] = field(default_factory=dict)
    rows: dict[str, set[str]] = field(default_factory=lambda: {run: set() for run in RUNS})
    believed: dict[str, dict[str, Lease]] = field(
        default_factory=lambda: {replica: {} for replica in REPLICAS}
    )
    # What each replica saw at its last look; it may be long ago.
    seen: dict[str, tuple[list[Unfinished], dict[str, int]]] = field(default_factory=dict)

    def may_take(self, run: Unfinished, replica: str, counts: dict[str, int]) -> bool:
        owner = run.lease.owner
        if self.leases[run.id] != run.lease:
            return False
        return owner in ("", replica) or self.beats.get(owner, counts[owner]) == counts[owner]

    async def look(self, replica: str) -> None:
        self.seen[replica] = (
            await self.history.list_unfinished(),
            dict(await self.history.beats()),
        )

    async def beat(self, replica: str) -> None:
        assert await self.history.beat(replica) == (replica in self.beats)
        self.beats[replica] = self.beats.get(replica, 0) + 1

    async def take(self, replica: str) -> None:
        found, beats = self.seen.get(replica, ([], {}))
        counts = {run.lease.owner: beats.get(run.lease.owner, 0) for run in found}
        wanted = {run.id for run in found if self.may_take(run, replica, counts)}
        assert await self.history.take(replica, found, counts) == wanted
        for owner in counts.keys() - {"", replica}:
            if self.beats.get(owner) == counts[owner]:
                del self.beats[owner]
        for run in found:
            if run.id in wanted:
                taken = Lease(replica, run.lease.generation + 1)
                self.leases[run.id] = self.believed[replica][run.id] = taken

    async def save(self, replica: str) -> None:
        run_id = self.chance.choice(RUNS)
        lease = self.believed[replica].get(run_id, Lease(replica))
        row = make_task(f"{run_id}-{self.chance.random()}", run_id)
        if lease == self.leases[run_id]:
            await self.history.save(None, [row], [], lease)
            self.rows[run_id].add(row.id)
        else:
            with pytest.raises(LeaseLost):
                await self.history.save(None, [row], [], lease)

    async def release(self, replica: str) -> None:
        await self.history.release(replica)
        self.beats.pop(replica, None)
        for run_id, lease in self.leases.items():
            if lease.owner == replica:
                self.leases[run_id] = NOBODYS._replace(generation=lease.generation)


@pytest.mark.parametrize("seed", range(3))
async def test_any_order_of_deeds_leaves_each_run_one_owner_and_all_its_rows(
    world: World, seed: int
) -> None:
    play = Play(world.history, random.Random(seed))
    for run_id in RUNS:
        play.leases[run_id] = Lease(play.chance.choice(["", *REPLICAS]))
        await world.create(make_run(run_id, lease=play.leases[run_id]))

    deeds = [play.look] * 2 + [play.beat] + [play.take] * 2 + [play.save] * 4 + [play.release]
    for _ in range(STEPS):
        await play.chance.choice(deeds)(play.chance.choice(REPLICAS))

    assert {run.id: run.lease for run in await world.history.list_unfinished()} == play.leases
    assert await world.history.beats() == play.beats
    for run_id in RUNS:
        loaded = await world.history.load_run(run_id)
        assert loaded is not None
        assert {row.id for row in loaded[1]} == play.rows[run_id]
    assert any(play.rows.values())
