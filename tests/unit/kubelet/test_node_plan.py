"""A pod's life, decided without clock or processes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.base.clock import format_time
from bessemer.cluster.kubelet.pods import plan
from bessemer.cluster.kubelet.pods.plan import (
    Attempt,
    Container,
    Kill,
    Release,
    Remove,
    Start,
    Stop,
)
from bessemer.cluster.kubelet.runtime.base import ContainerState, Observation
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.pod import POD

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def pod(*names: str, init: tuple[str, ...] = (), **spec: Any) -> Object:
    spec["containers"] = [{"name": name} for name in names or ("main",)]
    spec["initContainers"] = [{"name": name} for name in init]
    obj = meta.new(POD, "p", "default", spec=spec)
    obj["metadata"]["uid"] = "u"
    return obj


def deleted(obj: Object, grace: int = 30) -> Object:
    obj["metadata"]["deletionTimestamp"] = format_time(NOW + timedelta(seconds=grace))
    obj["metadata"]["deletionGracePeriodSeconds"] = grace
    return obj


def running(number: int = 0, **parts: Any) -> Container:
    parts = {"is_started": True, "is_ready": True, **parts}
    return Container(Attempt(number, Observation(ContainerState.RUNNING, started_at=NOW)), **parts)


def ended(code: int = 0, number: int = 0, ran: float = 1, **parts: Any) -> Container:
    seen = Observation(
        ContainerState.EXITED, exit_code=code,
        started_at=NOW - timedelta(seconds=ran), finished_at=NOW,
    )  # fmt: skip
    return Container(Attempt(number, seen), **parts)


def lost() -> Container:
    return Container(Attempt(0, Observation(ContainerState.LOST, started_at=NOW)))


def actions(obj: Object, now: datetime = NOW, **view: Container) -> list[plan.Action]:
    return plan.decide(obj, view, now).actions


def test_all_containers_start_together() -> None:
    assert actions(pod("a", "b")) == [Start("a", 0, 0), Start("b", 0, 0)]


def test_init_containers_go_first_one_by_one() -> None:
    two = pod("main", init=("i", "j"))
    assert actions(two) == [Start("i", 0, 0)]
    assert actions(two, i=running()) == []
    assert actions(two, i=ended()) == [Start("j", 0, 0)]
    assert actions(two, i=ended(), j=ended()) == [Start("main", 0, 0)]


def test_a_failed_init_container_ends_a_pod_that_never_restarts() -> None:
    assert actions(pod(init=("i",), restartPolicy="Never"), i=ended(1)) == [Release()]
    assert actions(pod(init=("i",), restartPolicy="Always"), i=ended(1)) == [Start("i", 1, 1)]


def test_a_sidecar_stays_beside_the_others_and_ends_after_them() -> None:
    obj = pod(init=("side",), restartPolicy="Never")
    obj["spec"]["initContainers"][0]["restartPolicy"] = "Always"
    assert actions(obj) == [Start("side", 0, 0)]
    assert actions(obj, side=running(is_started=False)) == []
    assert actions(obj, side=running()) == [Start("main", 0, 0)]
    (stop,) = actions(obj, side=running(), main=ended())
    assert isinstance(stop, Stop)
    assert stop.container == "side"
    assert actions(obj, side=ended(), main=ended()) == [Release()]
    assert actions(obj, side=ended(), main=running()) == [Start("side", 1, 1)]


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [
        ("Never", 0, False), ("Never", 1, False), ("OnFailure", 0, False),
        ("OnFailure", 1, True), ("Always", 0, True), ("Always", 1, True),
    ],
)  # fmt: skip
def test_restart_policy(policy: str, code: int, again: bool) -> None:  # noqa: FBT001 - a table
    expected = [Start("main", 1, 1)] if again else [Release()]
    assert actions(pod(restartPolicy=policy), main=ended(code)) == expected


def test_what_nobody_saw_ending_counts_as_killed() -> None:
    assert actions(pod(restartPolicy="Never"), main=lost()) == [Release()]
    assert actions(pod(restartPolicy="OnFailure"), main=lost()) == [Start("main", 1, 1)]


def test_backoff_is_upstreams() -> None:
    assert [plan.backoff_seconds(n) for n in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]


def test_a_crashing_container_waits_and_then_starts() -> None:
    crashed = ended(1, number=2, streak=2)
    todo = plan.decide(pod(), {"main": crashed}, NOW)
    assert todo.actions == []
    assert todo.wake_at == NOW + timedelta(seconds=20)
    later = NOW + timedelta(seconds=20)
    assert actions(pod(), later, main=crashed) == [Start("main", 3, 3)]


def test_ten_good_minutes_forgive_all_crashes() -> None:
    assert actions(pod(), main=ended(1, number=7, ran=601, streak=6)) == [Start("main", 8, 0)]


def test_an_end_that_was_ours_is_no_crash() -> None:
    """However often the control plane is ended in order: nothing waits, nothing is lost."""
    ours = ended(143, number=5, streak=5)
    assert ours.attempt is not None
    ours = replace(ours, attempt=replace(ours.attempt, is_interrupted=True))
    for policy in ("Always", "OnFailure", "Never"):
        assert actions(pod(restartPolicy=policy), main=ours) == [Start("main", 6, 0)]


def test_trouble_is_retried_when_it_is_due() -> None:
    trouble = plan.WaitingReason("ErrImagePull", "", NOW + timedelta(seconds=5))
    waiting = Container(trouble=trouble)
    todo = plan.decide(pod(), {"main": waiting}, NOW)
    assert (todo.actions, todo.wake_at) == ([], trouble.retry_at)
    assert actions(pod(), NOW + timedelta(seconds=5), main=waiting) == [Start("main", 0, 0)]


def test_an_unhealthy_container_is_stopped_then_killed() -> None:
    sick = running(unhealthy="liveness")
    obj = pod(terminationGracePeriodSeconds=7)
    deadline = NOW + timedelta(seconds=7)
    assert actions(obj, main=sick) == [Stop("main", deadline, "liveness")]
    stopped = running(unhealthy="liveness", stop_at=deadline)
    assert actions(obj, NOW + timedelta(seconds=6), main=stopped) == []
    assert actions(obj, deadline, main=stopped) == [Kill("main")]


def test_a_deleted_pod_is_stopped_killed_and_removed() -> None:
    gone = deleted(pod())
    deadline = NOW + timedelta(seconds=30)
    assert actions(gone, main=running()) == [Stop("main", deadline, "Stopping container main")]
    assert actions(gone, main=running(stop_at=deadline)) == []
    assert actions(gone, deadline, main=running(stop_at=deadline)) == [Kill("main")]
    assert actions(gone, deadline, main=running(stop_at=deadline, is_killed=True)) == []
    assert actions(gone, main=ended(143)) == [Remove()]


def test_deleted_without_grace_is_killed_at_once() -> None:
    assert actions(deleted(pod(), grace=0), main=running()) == [Kill("main")]


def test_a_deleted_pod_starts_nothing() -> None:
    assert actions(deleted(pod())) == [Remove()]
    assert actions(deleted(pod()), main=Container(is_starting=True)) == [plan.Abandon("main")]


def test_the_active_deadline_ends_a_pod() -> None:
    obj = pod(activeDeadlineSeconds=5, restartPolicy="Always")
    obj["status"] = {"startTime": format_time(NOW - timedelta(seconds=4))}
    assert plan.decide(obj, {"main": running()}, NOW).wake_at == NOW + timedelta(seconds=1)
    late = NOW + timedelta(seconds=1)
    (stop,) = actions(obj, late, main=running())
    assert isinstance(stop, Stop)
    assert actions(obj, late, main=ended(143)) == [Release()]


def test_a_finished_pod_stays_finished() -> None:
    obj = pod(restartPolicy="Always")
    obj["status"] = {"phase": "Failed"}
    assert actions(obj, main=ended(1)) == [Release()]


CONTAINERS = st.one_of(
    st.just(plan.NOTHING),
    st.just(running()),
    st.builds(ended, st.integers(0, 3), st.integers(0, 9), streak=st.integers(0, 9)),
    st.just(lost()),
    st.just(Container(is_starting=True)),
)


@given(
    policy=st.sampled_from(["Always", "OnFailure", "Never"]),
    view=st.fixed_dictionaries(dict.fromkeys(("i", "a", "b"), CONTAINERS)),
    is_deleted=st.booleans(),
)
def test_nothing_runs_twice_and_only_the_live_are_ended(
    policy: str,
    view: dict[str, Container],
    is_deleted: bool,  # noqa: FBT001 - drawn
) -> None:
    obj = pod("a", "b", init=("i",), restartPolicy=policy)
    if is_deleted:
        deleted(obj)
    for action in plan.decide(obj, view, NOW).actions:
        match action:
            case Start(name, number, _):
                attempt = view[name].attempt
                assert not view[name].is_starting
                assert not is_deleted
                assert attempt is None or (attempt.is_over and number == attempt.number + 1)
            case Stop(name) | Kill(name):
                attempt = view[name].attempt
                assert attempt is not None
                assert attempt.is_live
            case plan.Abandon(name):
                assert view[name].is_starting
            case Release() | Remove():
                assert not any(each.is_starting for each in view.values())
                assert not any(each.attempt and each.attempt.is_live for each in view.values())
