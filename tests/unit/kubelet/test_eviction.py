"""Who is evicted for the disk, when, and in which words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bessemer.cluster.kubelet.pods import eviction, plan, status
from bessemer.cluster.kubelet.pods.eviction import Disk, Usage
from bessemer.cluster.kubelet.pods.plan import Attempt, Container
from bessemer.cluster.kubelet.runtime.base import ContainerState, Observation

MIB = 2**20
GIB = 2**30
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def make_pod(
    *amounts: dict[str, dict[str, str]], volumes: Any = (), uid: str = "u", priority: int = 0
) -> dict[str, Any]:
    containers = [
        {"name": f"c{number}", "resources": each} for number, each in enumerate(amounts or ({},))
    ]
    spec = {"containers": containers, "volumes": list(volumes), "priority": priority}
    return {"metadata": {"name": "p", "namespace": "n", "uid": uid}, "spec": spec}


def limit(text: str) -> dict[str, dict[str, str]]:
    return {"limits": {"ephemeral-storage": text}}


def request(text: str) -> dict[str, dict[str, str]]:
    return {"requests": {"ephemeral-storage": text}}


def empty_dir(name: str, **source: str) -> dict[str, Any]:
    return {"name": name, "emptyDir": source}


@pytest.mark.parametrize(
    ("pod", "usage", "words"),
    [
        (make_pod(), Usage({}, {"c0": GIB}), ""),
        (make_pod(volumes=[empty_dir("v")]), Usage({"v": GIB}), ""),
        (make_pod(volumes=[empty_dir("v", sizeLimit="1Mi")]), Usage({"v": MIB}), ""),
        (
            make_pod(volumes=[empty_dir("v", sizeLimit="1Mi")]),
            Usage({"v": MIB + 1}),
            'Usage of EmptyDir volume "v" exceeds the limit "1Mi". ',
        ),
        (
            make_pod(volumes=[empty_dir("v", sizeLimit="1Mi", medium="Memory")]),
            Usage({"v": 2 * MIB}),
            'Usage of EmptyDir volume "v" exceeds the limit "1Mi". ',
        ),
        (make_pod(volumes=[empty_dir("v", sizeLimit="0")]), Usage({"v": GIB}), ""),
        (
            make_pod(limit("1Mi"), {}, volumes=[empty_dir("v")]),
            Usage({"v": MIB}, {"c0": 1}),
            "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ",
        ),
        (
            make_pod(limit("1Mi"), limit("2Mi")),
            Usage({}, {"c0": 1, "c1": 3 * MIB}),
            "Pod ephemeral local storage usage exceeds the total limit of containers 3072Ki. ",
        ),
        (
            make_pod(limit("1Mi"), volumes=[empty_dir("v", medium="Memory")]),
            Usage({"v": GIB}, {"c0": 1}),
            "",
        ),
        (
            make_pod(limit("1Mi"), limit("9Mi")),
            Usage({}, {"c0": 2 * MIB}),
            'Container c0 exceeded its local ephemeral storage limit "1Mi". ',
        ),
    ],
)
def test_a_limit_that_is_exceeded_is_told_in_kubelets_words(
    pod: Any, usage: Usage, words: str
) -> None:
    assert eviction.breach(pod, usage) == words
    assert eviction.is_bounded(pod) or not words


@pytest.mark.parametrize(
    ("disk", "was_low", "low"),
    [
        (Disk(100 * GIB, GIB), False, False),
        (Disk(100 * GIB, 511 * MIB), False, True),
        (Disk(100 * GIB, 600 * MIB), True, True),
        (Disk(100 * GIB, 700 * MIB), True, False),
        (Disk(40 * MIB, 5 * MIB), False, False),
        (Disk(40 * MIB, 3 * MIB), False, True),
        (Disk(100 * GIB, GIB, 10**6, 9_999), False, True),
        (Disk(100 * GIB, GIB, 10**6, 10_001), False, False),
        (Disk(100 * GIB, GIB, 0, 0), False, False),
    ],
)
def test_a_disk_is_low_below_its_threshold(disk: Disk, was_low: bool, low: bool) -> None:  # noqa: FBT001 - a table's column
    assert eviction.is_low(disk, was_low=was_low) is low


def test_who_has_most_beyond_its_request_goes_first() -> None:
    disk = Disk(100 * GIB, 100 * MIB)
    candidates = [
        (make_pod(request("10Gi"), uid="asked"), Usage({}, {"c0": 9 * GIB})),
        (make_pod(request("1Gi"), uid="more"), Usage({}, {"c0": 3 * GIB})),
        (make_pod(uid="some"), Usage({}, {"c0": GIB})),
        (make_pod(uid="important", priority=1000), Usage({}, {"c0": 20 * GIB})),
    ]

    pod, message = eviction.choose(candidates, disk)

    assert pod is not None
    assert pod["metadata"]["uid"] == "more"
    assert message == (
        "The node was low on resource: ephemeral-storage. Threshold quantity: 536870912, "
        "available: 102400Ki. Container c0 was using 3145728Ki, request is 1Gi, has larger "
        "consumption of ephemeral-storage. "
    )


def test_a_full_disk_that_no_pod_filled_costs_no_pod_its_life() -> None:
    candidates = [
        (make_pod(uid="a"), Usage({}, {"c0": 10 * MIB})),
        (make_pod(request("10Gi"), uid="b"), Usage({}, {"c0": 9 * GIB})),
    ]

    assert eviction.choose(candidates, Disk(100 * GIB, 0)) == (None, "")


def evicted(state: ContainerState, finished: datetime | None = None) -> tuple[Any, Any]:
    pod = make_pod()
    pod["status"] = {
        "phase": "Running",
        "conditions": [eviction.condition("too much", "2026-01-01T12:00:00Z")],
    }
    pod["spec"]["restartPolicy"] = "Always"
    seen = Observation(state, 1, NOW - timedelta(hours=1), finished, exit_code=0)
    return pod, {"c0": Container(Attempt(0, seen))}


def test_an_evicted_pod_gets_a_second_to_end() -> None:
    pod, view = evicted(ContainerState.RUNNING)

    todo = plan.decide(pod, view, NOW)

    assert todo.actions == [plan.Stop("c0", NOW + timedelta(seconds=1), "Stopping container c0")]
    phase = status.build(pod, view, status.NodeAddresses("h", "p"), NOW)["phase"]
    assert phase == "Running"


def test_then_it_has_failed_and_is_not_started_again() -> None:
    pod, view = evicted(ContainerState.EXITED, NOW + timedelta(seconds=1))

    assert plan.decide(pod, view, NOW).actions == [plan.Release()]
    told = status.build(pod, view, status.NodeAddresses("h", "p"), NOW)
    assert (told["phase"], told["reason"], told["message"]) == ("Failed", "Evicted", "too much")
    assert any(each["type"] == "DisruptionTarget" for each in told["conditions"])


def test_what_was_done_before_stays_done() -> None:
    pod, view = evicted(ContainerState.EXITED, NOW - timedelta(seconds=1))
    pod["spec"]["restartPolicy"] = "Never"

    assert status.build(pod, view, status.NodeAddresses("h", "p"), NOW)["phase"] == "Succeeded"


def test_a_disruption_that_was_somebody_elses_is_no_eviction() -> None:
    pod, _ = evicted(ContainerState.RUNNING)
    pod["status"]["conditions"][0]["reason"] = "DeletionByTaintManager"

    assert eviction.decided(pod) is None
