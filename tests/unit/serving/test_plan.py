"""The rollout plan: who gets traffic, who runs, who goes."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bessemer.serving.plan import (
    DRAIN,
    TRANSITIONS,
    Create,
    Declared,
    Failure,
    MarkIdle,
    Observed,
    Phase,
    Remove,
    Revision,
    Scale,
    phase,
    plan,
    split,
)

NOW = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)


def rev(number: int, **parts: object) -> Revision:
    return Revision(f"r{number}", number, f"d{number}", **{"ready": 1, **parts})  # type: ignore[arg-type]  # a test's shorthand


@pytest.mark.parametrize(
    ("latest", "rolled_out", "previous", "canary", "expected"),
    [
        ("r1", "", "", None, {"r1": 100}),  # the first gets all
        ("r1", "", "", 10, {"r1": 100}),  # even with a canary share
        ("r2", "r1", "", None, {"r2": 100}),
        ("r2", "r1", "", 10, {"r2": 10, "r1": 90}),
        ("r2", "r1", "", 0, {"r2": 0, "r1": 100}),
        ("r2", "r1", "", 100, {"r2": 100}),
        ("r2", "r2", "r1", None, {"r2": 100}),
        ("r2", "r2", "r1", 0, {"r2": 0, "r1": 100}),  # rollback after promotion
        ("r2", "r1", "r2", 0, {"r2": 0, "r1": 100}),  # rolled back stays so
        ("r3", "r1", "r2", 25, {"r3": 25, "r1": 75}),  # a canary after a rollback
    ],
)
def test_split(
    latest: str, rolled_out: str, previous: str, canary: int | None, expected: dict[str, int]
) -> None:
    assert split(latest, rolled_out, previous, canary) == expected


def test_new_declaration_makes_the_next_revision_and_moves_nothing() -> None:
    observed = Observed((rev(1),), {"r1": 100}, rolled_out="r1", last_number=7)
    step = plan(Declared("d2"), observed, NOW)
    assert step.actions == (Create(8, "d2"),)
    assert step.weights == {"r1": 100}
    assert step.latest == ""


def test_traffic_waits_for_the_new_revision() -> None:
    starting = Observed((rev(1), rev(2, ready=0)), {"r1": 100}, rolled_out="r1")
    assert plan(Declared("d2"), starting, NOW).weights == {"r1": 100, "r2": 0}
    ready = replace(starting, revisions=(rev(1), rev(2)))
    step = plan(Declared("d2"), ready, NOW)
    assert (step.weights, step.rolled_out, step.previous) == ({"r2": 100}, "r2", "r1")
    assert step.actions == ()
    moved = replace(ready, weights={"r2": 100}, rolled_out="r2", previous="r1", routed=False)
    assert plan(Declared("d2"), moved, NOW).actions == ()  # the gateway still sends to r1
    step = plan(Declared("d2"), replace(moved, routed=True), NOW)
    assert step.actions == (MarkIdle("r1", NOW),)
    assert step.look_again == DRAIN


def test_failed_revision_gets_nothing_and_the_old_one_stays() -> None:
    failed = rev(2, ready=0, failure=Failure("Error", "no model", 1))
    observed = Observed((rev(1), failed), {"r1": 100}, rolled_out="r1")
    step = plan(Declared("d2"), observed, NOW)
    assert step.weights == {"r1": 100, "r2": 0}
    assert step.actions == ()
    assert step.rolled_out == "r1"


def test_drained_revision_is_parked_if_previous_and_removed_if_older() -> None:
    long_ago = NOW - 2 * DRAIN
    idle = (rev(1, idle_since=long_ago), rev(2, idle_since=long_ago), rev(3))
    observed = Observed(idle, {"r3": 100}, rolled_out="r3", previous="r2")
    assert plan(Declared("d3"), observed, NOW).actions == (Remove("r1"), Scale("r2", 0))


def test_the_next_look_is_when_the_first_has_drained() -> None:
    idle = [rev(n, idle_since=NOW - timedelta(seconds=n)) for n in (1, 3, 2)]
    observed = Observed((*idle, rev(4)), {"r4": 100}, rolled_out="r4", previous="r3")
    step = plan(Declared("d4"), observed, NOW)
    assert step.actions == ()
    assert step.look_again == DRAIN - timedelta(seconds=3)


def test_a_share_waits_for_readiness_but_is_not_lost_with_it() -> None:
    two = (rev(1), rev(2, ready=0))
    waiting = Observed(two, {"r1": 100}, rolled_out="r1")
    assert plan(Declared("d2", canary=10), waiting, NOW).weights == {"r1": 100, "r2": 0}
    serving = replace(waiting, weights={"r1": 90, "r2": 10})
    for canary in (10, 50):
        step = plan(Declared("d2", canary=canary), serving, NOW)
        assert step.weights == {"r1": 100 - canary, "r2": canary}


def test_a_number_is_given_once() -> None:
    for kept, last, given_ in ((5, 0, 6), (2, 7, 8)):
        observed = Observed((rev(kept),), {}, last_number=last)
        assert plan(Declared("new"), observed, NOW).actions == (Create(given_, "new"),)


def test_rollback_starts_the_parked_revision_before_it_moves_traffic() -> None:
    parked = rev(1, ready=0, replicas=0, idle_since=NOW - 2 * DRAIN)
    observed = Observed((parked, rev(2)), {"r2": 100}, rolled_out="r2", previous="r1")
    step = plan(Declared("d2", canary=0), observed, NOW)
    assert step.weights == {"r2": 100}
    assert step.actions == (MarkIdle("r1", None), Scale("r1", 1))
    assert step.lacking == ("r1",)
    awake = replace(observed, revisions=(rev(1), rev(2)))
    step = plan(Declared("d2", canary=0), awake, NOW)
    assert step.lacking == ()
    assert (step.weights, step.rolled_out, step.previous) == ({"r1": 100, "r2": 0}, "r1", "r2")


def test_unservable_declaration_leaves_everything_as_it_is() -> None:
    observed = Observed((rev(1),), {"r1": 100}, rolled_out="r1")
    step = plan(Declared(None), observed, NOW)
    assert (step.actions, step.weights) == ((), {"r1": 100})


def test_stopping_removes_every_revision_and_resuming_makes_the_next_one() -> None:
    revisions = (rev(1, replicas=0, ready=0), rev(2))
    observed = Observed(revisions, {"r2": 100}, rolled_out="r2", previous="r1", last_number=2)
    step = plan(Declared("d2", canary=10, stopped=True), observed, NOW)
    assert step.actions == (Remove("r1"), Remove("r2"))
    assert (step.weights, step.rolled_out, step.previous, step.latest) == ({}, "", "", "r2")
    gone = Observed(last_number=2)
    assert plan(Declared("d2", stopped=True), gone, NOW).actions == ()
    assert plan(Declared(None, stopped=True), observed, NOW).actions == step.actions
    assert plan(Declared("d2", canary=10), gone, NOW).actions == (Create(3, "d2"),)


def test_revisions_that_nobody_needs_go_even_if_they_never_served() -> None:
    long_ago = NOW - 2 * DRAIN
    broken = {"ready": 0, "failure": Failure("Error", "no model", 1)}
    failed = tuple(rev(number, idle_since=long_ago, **broken) for number in (1, 2))
    latest = rev(3, **broken)
    observed = Observed((*failed, latest), {"r1": 0, "r2": 0, "r3": 0})
    assert plan(Declared("d3"), observed, NOW).actions == (Remove("r1"), Remove("r2"))
    assert plan(Declared(None), observed, NOW).actions == (Remove("r1"), Remove("r2"))


class World:
    """What the reconciler would make of plans: each step applied, pods that come and go."""

    def __init__(self) -> None:
        self.observed = Observed()
        self.now = NOW
        self.phases: dict[str, Phase] = {}

    def apply(self, declared: Declared) -> None:
        step = plan(declared, self.observed, self.now)
        revisions = {entry.name: entry for entry in self.observed.revisions}
        number = self.observed.last_number
        for action in step.actions:
            match action:
                case Create(number, digest):
                    revisions[f"r{number}"] = Revision(f"r{number}", number, digest)
                case Scale(name, replicas):
                    ready = min(revisions[name].ready, replicas)
                    revisions[name] = replace(revisions[name], replicas=replicas, ready=ready)
                case MarkIdle(name, since):
                    revisions[name] = replace(revisions[name], idle_since=since)
                case Remove(name):
                    assert not step.weights.get(name)
                    del revisions[name]
        self.observed = Observed(
            tuple(revisions.values()), step.weights, step.rolled_out, step.previous, number
        )
        self._watch_phases(step.latest)

    def start(self, *, failing: bool) -> None:
        """Pods that were asked for come up, or fail."""
        failure = Failure("Error", "broken", 1) if failing else None
        self.observed = replace(
            self.observed,
            revisions=tuple(
                replace(entry, ready=0 if failing else entry.replicas, failure=failure)
                if entry.ready < entry.replicas
                else entry
                for entry in self.observed.revisions
            ),
        )

    def _watch_phases(self, latest: str) -> None:
        weights = self.observed.weights or {}
        for entry in self.observed.revisions:
            old, new = self.phases.get(entry.name), phase(entry, weights, latest)
            assert old in (None, new) or new in TRANSITIONS[old], (entry, old, new)
            self.phases[entry.name] = new


_TWO_STARTED = [("declare", 1), ("start", 0), ("declare", 2), ("start", 0)]
_MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("declare"), st.integers(1, 4)),
        st.tuples(st.just("canary"), st.sampled_from([None, 0, 10, 50, 100])),
        st.tuples(st.just("start"), st.booleans()),
        st.tuples(st.just("wait"), st.sampled_from([1, 10])),
        st.tuples(st.just("step"), st.just(0)),
    ),
    max_size=40,
)


@given(_MOVES)
@example(
    [("declare", 1), ("start", 0), ("declare", 2), ("start", 0), ("declare", 1), ("canary", 0)]
)
def test_whatever_happens_traffic_goes_only_to_what_answers(moves: list[tuple[str, int]]) -> None:
    world, declared = World(), Declared("d1")
    for kind, value in moves:
        match kind:
            case "declare":
                declared = replace(declared, digest=f"d{value}")
            case "canary":
                declared = replace(declared, canary=value)
            case "start":
                world.start(failing=bool(value))
            case "wait":
                world.now += timedelta(seconds=value)
        world.apply(declared)
        weights = world.observed.weights or {}
        by_name = {entry.name: entry for entry in world.observed.revisions}
        assert sum(weights.values()) in (0, 100)
        assert all(by_name[name].ready for name, weight in weights.items() if weight)
    for _ in range(6):
        world.start(failing=False)
        world.now += 2 * DRAIN
        world.apply(declared)
    # Left alone, it settles: what is declared runs, and at most one more; one may be parked.
    latest = max(world.observed.revisions, key=lambda entry: entry.number)
    assert latest.digest == declared.digest
    assert len([entry for entry in world.observed.revisions if entry.replicas]) <= 2
    assert len(world.observed.revisions) <= 3
    assert not plan(declared, world.observed, world.now).actions


def test_every_phase_has_its_transitions() -> None:
    assert set(TRANSITIONS) == set(Phase)
    for old, new in itertools.product(Phase, Phase):
        assert new not in TRANSITIONS[old] or new is not old
