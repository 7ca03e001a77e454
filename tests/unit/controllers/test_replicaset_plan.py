"""How many pods a ReplicaSet makes or ends, and what its status says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from bessemer.base.clock import format_time
from bessemer.cluster.controllers.replicaset import plan
from bessemer.kinds import meta
from bessemer.kinds.kind import Object

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def replicaset(replicas: int | None = 3, **spec: object) -> Object:
    count = {} if replicas is None else {"replicas": replicas}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": "a", "namespace": "n", "uid": "u", "generation": 2},
        "spec": {**count, "template": {"metadata": {"labels": {"app": "a"}}}, **spec},
    }


def pod(
    name: str, *, ready_for: float | None = None, node: str = "one", **status: object
) -> Object:
    conditions = []
    if ready_for is not None:
        since = format_time(NOW - timedelta(seconds=ready_for))
        conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": since}]
    return {
        "metadata": {"name": name, "namespace": "n", "uid": name, "labels": {"app": "a"}},
        "spec": {"nodeName": node},
        "status": {"phase": "Running", "conditions": conditions, **status},
    }


def deleting(obj: Object) -> Object:
    changed = meta.copy(obj)
    changed["metadata"]["deletionTimestamp"] = format_time(NOW)
    return changed


def test_missing_pods_are_made() -> None:
    assert plan.scale(replicaset(3), [pod("a")]) == plan.Scale(create=2)


def test_one_replica_is_meant_where_none_is_said() -> None:
    assert plan.scale(replicaset(None), []) == plan.Scale(create=1)


def test_ended_and_ending_pods_do_not_count() -> None:
    pods = [pod("a"), pod("b", phase="Failed"), deleting(pod("c"))]

    assert plan.scale(replicaset(3), pods).create == 2


def test_a_deleted_replicaset_makes_none() -> None:
    assert plan.scale(deleting(replicaset(3)), []) == plan.Scale()


def test_a_burst_has_a_limit() -> None:
    assert plan.scale(replicaset(100_000), []).create == plan.BURST


def test_unbound_pods_go_before_unready_before_young_before_old() -> None:
    old, young = pod("old", ready_for=100), pod("young", ready_for=1)
    unready, unbound = pod("unready"), pod("unbound", node="", phase="Pending")

    def gone(size: int) -> list[str]:
        scale = plan.scale(replicaset(size), [old, unbound, young, unready])
        return [meta.name(victim) for victim in scale.delete]

    assert gone(3) == ["unbound"]
    assert gone(1) == ["unbound", "unready", "young"]


def test_a_cheap_pod_goes_before_a_dear_one() -> None:
    dear, cheap = pod("dear", ready_for=1), pod("cheap", ready_for=100)
    dear["metadata"]["annotations"] = {"controller.kubernetes.io/pod-deletion-cost": "10"}

    assert plan.scale(replicaset(1), [dear, cheap]).delete == (cheap,)


def test_a_deletion_cost_that_is_no_number_counts_as_nothing() -> None:
    odd = pod("odd", ready_for=1)
    odd["metadata"]["annotations"] = {"controller.kubernetes.io/pod-deletion-cost": "much"}

    assert plan.scale(replicaset(0), [odd]).delete == (odd,)


def test_the_status_counts() -> None:
    pods = [pod("a", ready_for=10), pod("b"), deleting(pod("c", ready_for=10))]

    status = plan.status(replicaset(2), pods, NOW, "")

    assert status == {
        "replicas": 2,
        "observedGeneration": 2,
        "fullyLabeledReplicas": 2,
        "readyReplicas": 1,
        "availableReplicas": 1,
        "terminatingReplicas": 1,
    }


def test_a_pod_is_available_after_min_ready_seconds() -> None:
    slow = replicaset(2, minReadySeconds=30)
    pods = [pod("a", ready_for=31), pod("b", ready_for=20)]

    assert plan.status(slow, pods, NOW, "")["availableReplicas"] == 1
    assert plan.look_again_after(slow, pods, NOW) == 10.0


def test_a_failure_is_told_and_forgotten() -> None:
    failing = replicaset(2)
    failing["status"] = plan.status(failing, [], NOW, "quota")

    condition = failing["status"]["conditions"][0]
    assert (condition["type"], condition["status"]) == ("ReplicaFailure", "True")
    assert condition["message"] == "quota"
    assert "conditions" not in plan.status(failing, [], NOW, "")
