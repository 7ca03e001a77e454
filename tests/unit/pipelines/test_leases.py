"""Whom a replica takes for dead, and what it does about a run."""

import pytest

from bessemer.pipelines.leases import (
    DEADLINE_SECONDS,
    LEASE_SECONDS,
    Replica,
    Tenure,
    Watched,
    decide,
)
from bessemer.pipelines.records import Lease, RunState, Unfinished

ME = Replica("me")
RUN = Unfinished("r", RunState.RUNNING, Lease("me"))


def test_a_replica_is_dead_when_its_count_stands_still_as_watched() -> None:
    watched = Watched()
    watched.observe(["a", "b"], {"a": 4}, 100.0)
    assert watched.dead(100.0 + LEASE_SECONDS - 0.1) == {}

    watched.observe(["a", "b"], {"a": 5}, 110.0)

    assert watched.dead(100.0 + LEASE_SECONDS) == {"b": 0}
    assert watched.dead(110.0 + LEASE_SECONDS) == {"a": 5, "b": 0}
    watched.observe(["b"], {}, 130.0)
    watched.observe(["a", "b"], {"a": 5}, 140.0)  # of one who was no owner for a while all anew
    assert watched.dead(140.0) == {"b": 0}


def test_a_replica_stops_before_the_others_may_take_over() -> None:
    tenure = Tenure(ME)
    assert not tenure.holds(0.0)
    tenure.renew(5.0)
    assert tenure.holds(5.0 + DEADLINE_SECONDS - 0.1)
    assert not tenure.holds(5.0 + DEADLINE_SECONDS)
    assert DEADLINE_SECONDS < LEASE_SECONDS
    assert Tenure(Replica("me", is_alone=True)).holds(1e9)


@pytest.mark.parametrize(
    ("run", "driven", "wanted"),
    [
        (RUN, {}, "look"),
        (RUN, {"r": False}, ""),
        (RUN._replace(state=RunState.CANCELING), {"r": False}, "look"),
        (RUN._replace(state=RunState.CANCELING), {"r": True}, ""),
        (RUN._replace(lease=Lease()), {}, "take"),
        (RUN._replace(lease=Lease("dead", 3)), {}, "take"),
        (RUN._replace(lease=Lease("other", 3)), {}, ""),
        (RUN._replace(lease=Lease("other", 3)), {"r": False}, "look"),
        (RUN._replace(id="another", lease=Lease("other")), {"r": False}, "look"),
    ],
    ids=str,
)
def test_what_follows_from_a_look(run: Unfinished, driven: dict[str, bool], wanted: str) -> None:
    steps = decide(ME, [run], {"dead"}, driven)

    assert steps.take == ([run] if wanted == "take" else [])
    assert steps.look == ({"r"} if wanted == "look" else set())


def test_who_is_alone_takes_whatever_is_unfinished() -> None:
    left = RUN._replace(lease=Lease("before", 2))

    assert decide(Replica("me", is_alone=True), [left], (), {}).take == [left]
