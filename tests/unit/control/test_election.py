"""One leader at a time: at a hand-over, after a crash, and when the API does not answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.control import leadership
from bessemer.control.election import Candidate, Election
from bessemer.control.leadership import InvalidTerms, Seen, Terms
from bessemer.kinds import meta
from bessemer.kinds.configmap import CONFIG_MAP
from bessemer.kinds.kind import Kind, Object
from bessemer.kinds.lease import LEASE
from bessemer.kube.client import Client
from bessemer.kube.errors import ServiceUnavailable

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
TERMS = Terms()


class Cut:
    """A client whose line to the API can be cut."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.is_cut = False
        self.writes = 0

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)

        async def ask(kind: Kind, *given: Any) -> Any:
            if self.is_cut:
                raise ServiceUnavailable("the line is cut")
            self.writes += name in ("create", "update")
            return await call(kind, *given)

        return ask


class Stage:
    """Who leads now; two at once fail the test."""

    def __init__(self) -> None:
        self.leaders: list[str] = []
        self.terms: list[str] = []

    def play(self, identity: str) -> Any:
        async def lead() -> None:
            assert self.leaders == []
            self.leaders.append(identity)
            self.terms.append(identity)
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self.leaders.remove(identity)

        return lead


@asynccontextmanager
async def standing(
    client: Any, clock: Any, stage: Stage, identity: str
) -> AsyncIterator[asyncio.Task[None]]:
    election = Election(client, Candidate("default", "engine", identity), clock)
    task = asyncio.create_task(election.run(stage.play(identity)))
    try:
        yield task
    finally:
        await let_go(task)


async def let_go(task: asyncio.Task[None]) -> None:
    task.cancel()
    results = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError), results


@dataclass
class Passing:
    """Time goes on a second at a time, and what was written before it is stored by then."""

    client: Client
    clock: Any

    async def __call__(self, seconds: int) -> None:
        for _ in range(seconds):
            await self.clock.advance(1)
            # Writes are stored in their order.
            tick = {"data": {"second": str(self.clock.elapsed)}}
            await self.client.patch(CONFIG_MAP, "clock", "default", tick)
            await self.clock.advance(0)


@pytest.fixture
async def pass_by(client: Client, clock: Any) -> Passing:
    await client.create(CONFIG_MAP, meta.new(CONFIG_MAP, "clock", "default"))
    return Passing(client, clock)


async def lead_by(stage: Stage, pass_by: Passing, identity: str, most: int) -> int:
    """The seconds until the candidate leads."""
    for second in range(most + 1):
        if stage.leaders == [identity]:
            return second
        await pass_by(1)
    raise AssertionError(f"{identity} does not lead after {most} s, but {stage.leaders}")


async def test_the_first_leads_and_the_other_waits_as_long_as_it_renews(
    client: Client, clock: Any, pass_by: Passing
) -> None:
    stage = Stage()
    async with standing(client, clock, stage, "a"):
        await lead_by(stage, pass_by, "a", 10)
        async with standing(client, clock, stage, "b"):
            await pass_by(120)
            assert stage.terms == ["a"]
            lease = await client.get(LEASE, "engine", "default")
    spec = lease["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("a", 0)
    assert spec["leaseDurationSeconds"] == 15
    assert spec["renewTime"] > spec["acquireTime"]


async def test_who_stops_lets_go_and_the_other_leads_at_its_next_try(
    client: Client, clock: Any, pass_by: Passing
) -> None:
    stage = Stage()
    async with standing(client, clock, stage, "a") as first:
        await lead_by(stage, pass_by, "a", 10)
        async with standing(client, clock, stage, "b"):
            await pass_by(3)
            await let_go(first)
            released = await client.get(LEASE, "engine", "default")
            assert released["spec"]["holderIdentity"] == ""
            assert await lead_by(stage, pass_by, "b", 20) <= 10
            lease = await client.get(LEASE, "engine", "default")
            assert lease["spec"]["leaseTransitions"] == 1


async def test_after_a_crash_the_other_waits_for_the_lease_to_end(
    client: Client, clock: Any, pass_by: Passing
) -> None:
    stage, line = Stage(), Cut(client)
    async with standing(line, clock, stage, "a") as first:
        await lead_by(stage, pass_by, "a", 10)
        async with standing(client, clock, stage, "b"):
            await pass_by(3)
            line.is_cut = True  # so that it can't let go either
            await let_go(first)
            waited = await lead_by(stage, pass_by, "b", 30)
            assert 10 < waited <= 15 + 5
            lease = await client.get(LEASE, "engine", "default")
            assert lease["spec"]["holderIdentity"] == "b"


async def test_who_can_t_renew_stops_before_the_other_begins_and_leads_again_later(
    client: Client, clock: Any, pass_by: Passing
) -> None:
    stage, line = Stage(), Cut(client)
    async with standing(line, clock, stage, "a"):
        await lead_by(stage, pass_by, "a", 10)
        async with standing(client, clock, stage, "b") as second:
            line.is_cut = True
            await pass_by(10)
            assert stage.leaders == []
            await lead_by(stage, pass_by, "b", 20)
            line.is_cut = False
            await pass_by(30)
            assert stage.leaders == ["b"]
            await let_go(second)
            await lead_by(stage, pass_by, "a", 10)
    assert stage.terms == ["a", "b", "a"]


async def test_a_short_fault_is_no_loss(client: Client, clock: Any, pass_by: Passing) -> None:
    stage, line = Stage(), Cut(client)
    async with standing(line, clock, stage, "a"):
        await lead_by(stage, pass_by, "a", 10)
        line.is_cut = True
        await pass_by(7)
        line.is_cut = False
        await pass_by(30)
        assert stage.leaders == ["a"]
    assert stage.terms == ["a"]


async def test_what_is_led_and_ends_ends_the_election_and_lets_go(
    client: Client, clock: Any
) -> None:
    async def fail() -> None:
        raise ValueError("on purpose")

    election = Election(client, Candidate("default", "engine", "a"), clock)
    with pytest.raises(ValueError, match="on purpose"):
        await election.run(fail)
    lease = await client.get(LEASE, "engine", "default")
    assert lease["spec"]["holderIdentity"] == ""


def spec_of(holder: str, renewed: str = "2026-11-23T12:00:00.000000Z") -> Object:
    return {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": renewed}


def test_another_s_lease_counts_from_when_it_was_seen_to_change_whatever_its_times_say() -> None:
    ancient = spec_of("b", "1999-01-01T00:00:00.000000Z")
    seen = leadership.see(None, ancient, 100.0)

    assert leadership.propose(seen, "a", TERMS, 114.9, NOW) is None
    assert leadership.see(seen, dict(ancient), 110.0).since == 100.0
    assert leadership.see(seen, spec_of("b"), 110.0).since == 110.0
    taken = leadership.propose(seen, "a", TERMS, 115.0, NOW)
    assert taken is not None
    assert (taken["holderIdentity"], taken["leaseTransitions"]) == ("a", 1)


@given(
    holder=st.sampled_from(["", "a", "b"]),
    age=st.floats(0, 60, allow_nan=False),
    transitions=st.integers(0, 9),
)
def test_nobody_takes_what_another_holds(holder: str, age: float, transitions: int) -> None:
    spec = {**spec_of(holder), "leaseTransitions": transitions, "acquireTime": "before"}

    found = leadership.propose(Seen(spec, 0.0), "a", TERMS, age, NOW)

    if holder == "b" and age < 15:
        assert found is None
        return
    assert found is not None
    assert found["holderIdentity"] == "a"
    assert found["leaseTransitions"] == transitions + (holder != "a")
    assert (found["acquireTime"] == "before") == (holder == "a")


@pytest.mark.parametrize("times", [(10, 10, 2), (15, 2, 2), (15, 10, 0)])
def test_times_by_which_two_could_lead_are_refused(times: tuple[float, float, float]) -> None:
    with pytest.raises(InvalidTerms, match="must be duration > renew_deadline"):
        Terms(*times)
