"""Which pods fit, and upstream's words when none does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.cluster.scheduler import plan
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.node import NODE
from bessemer.kinds.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIM
from bessemer.kinds.pod import POD


def node(name: str = "n1", cpu: str = "2", memory: str = "4Gi", **spec: Any) -> Object:
    allocatable = {"cpu": cpu, "memory": memory, "pods": "3"}
    labels = {"disk": "ssd", "cores": "8"}
    return meta.new(NODE, name, spec=spec, status={"allocatable": allocatable}, labels=labels)


def pod(*requests: dict[str, str], init: tuple[dict[str, str], ...] = (), **spec: Any) -> Object:
    def containers(all_: tuple[dict[str, str], ...]) -> list[Object]:
        return [{"name": f"c{i}", "resources": {"requests": each}} for i, each in enumerate(all_)]

    spec |= {"containers": containers(requests), "initContainers": containers(init)}
    return meta.new(POD, "p", "default", spec=spec)


def place(wanted: Object, *nodes: Object, **used: plan.Demand) -> plan.Placement:
    return plan.place(wanted, nodes, used)


def test_fits_exactly() -> None:
    assert place(pod({"cpu": "2", "memory": "4Gi"}), node()).node == "n1"


def test_demand_is_the_sum_or_the_largest_init_container() -> None:
    wanted = plan.demand(
        pod({"cpu": "500m"}, {"cpu": "1"}, init=({"cpu": "4"}, {"memory": "1Ki"}))
    )
    assert wanted.amounts == {"cpu": 4000, "memory": 1024}


def test_what_goes_on_beside_the_others_counts_with_them() -> None:
    wanted = pod({"cpu": "1"}, init=({"cpu": "2"}, {"cpu": "500m"}, {"cpu": "2"}))
    wanted["spec"]["initContainers"][1]["restartPolicy"] = "Always"
    assert plan.demand(wanted).amounts["cpu"] == 2500
    wanted["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "3"
    assert plan.demand(wanted).amounts["cpu"] == 3500


def test_the_higher_priority_is_looked_at_first() -> None:
    waiting = [pod({}, priority=1), pod({}), pod({}, priority=9), pod({}, priority=9)]
    for number, each in enumerate(waiting):
        each["metadata"] |= {"name": f"p{number}", "creationTimestamp": f"2026-01-0{9 - number}"}
    order = [meta.name(each) for each in sorted(waiting, key=plan.urgency)]
    assert order == ["p3", "p2", "p0", "p1"]


def test_a_limit_alone_is_a_request() -> None:
    limited = meta.new(POD, "p", "d", spec={"containers": [{"resources": {"limits": {"cpu": 3}}}]})
    assert plan.demand(limited).amounts["cpu"] == 3000


def test_what_others_use_counts() -> None:
    used = plan.demand(pod({"memory": "3Gi"}))
    placement = place(pod({"memory": "2Gi"}), node(), n1=used)
    assert placement == plan.Placement(message="0/1 nodes are available: 1 Insufficient memory.")


def test_all_shortages_are_told() -> None:
    message = place(pod({"memory": "9Gi", "cpu": "9", "nvidia.com/gpu": "1"}), node()).message
    assert message == (
        "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, "
        "1 Insufficient nvidia.com/gpu."
    )


def test_an_overhead_is_asked_for_too() -> None:
    assert plan.demand(pod({"cpu": "1"}, overhead={"cpu": "250m"})).amounts == {"cpu": 1250}


def test_too_many_pods() -> None:
    assert place(pod({}), node(), n1=plan.Demand(pods=2)).node == "n1"
    message = place(pod({}), node(), n1=plan.Demand(pods=3)).message
    assert message == "0/1 nodes are available: 1 Too many pods."


def test_no_node_at_all() -> None:
    assert place(pod({})).message == "no nodes available to schedule pods"


@pytest.mark.parametrize(
    ("selector", "fits"), [({"disk": "ssd"}, True), ({"disk": "hdd"}, False), ({"x": "y"}, False)]
)
def test_node_selector(selector: dict[str, str], fits: bool) -> None:  # noqa: FBT001 - a table
    placement = place(pod({}, nodeSelector=selector), node())
    assert bool(placement.node) is fits
    if not fits:
        assert "1 node(s) didn't match Pod's node affinity/selector" in placement.message


@pytest.mark.parametrize(
    ("operator", "values", "fits"),
    [
        ("In", ["ssd"], True), ("NotIn", ["ssd"], False), ("Exists", [], True),
        ("DoesNotExist", [], False), ("Gt", ["1"], False), ("Nonsense", [], False),
    ],
)  # fmt: skip
def test_node_affinity(operator: str, values: list[str], fits: bool) -> None:  # noqa: FBT001
    term = {"matchExpressions": [{"key": "disk", "operator": operator, "values": values}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    wanted = pod({}, affinity={"nodeAffinity": required})
    assert bool(place(wanted, node()).node) is fits


@pytest.mark.parametrize(
    ("operator", "bound", "fits"),
    [
        ("Gt", "7", True), ("Gt", "8", False), ("Lt", "9", True), ("Lt", "8", False),
        ("Gt", "many", False), ("Nonsense", "9", False),
    ],
)  # fmt: skip
def test_node_affinity_by_number(operator: str, bound: str, fits: bool) -> None:  # noqa: FBT001
    assert is_taken([{"key": "cores", "operator": operator, "values": [bound]}]) is fits
    assert not is_taken([{"key": "disk", "operator": operator, "values": [bound]}])


def test_node_affinity_by_name_and_by_nothing() -> None:
    by_name = {"key": "metadata.name", "operator": "In", "values": ["n1"]}
    assert is_taken(fields=[by_name])
    assert not is_taken(fields=[{**by_name, "values": ["n2"]}])
    assert not is_taken([{"key": "disk", "operator": "In", "values": ["hdd"]}], [by_name])
    assert not is_taken(), "a term without requirements selects no node"


def is_taken(expressions: Sequence[Object] = (), fields: Sequence[Object] = ()) -> bool:
    """Whether a pod whose affinity is this one term gets the node."""
    term = {"matchExpressions": expressions, "matchFields": fields}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    return bool(place(pod({}, affinity={"nodeAffinity": required}), node()).node)


def test_taints_need_tolerations() -> None:
    tainted = node(taints=[{"key": "gpu", "value": "yes", "effect": "NoSchedule"}])
    assert place(pod({}), tainted).message == (
        "0/1 nodes are available: 1 node(s) had untolerated taint(s)."
    )
    for toleration in ({"operator": "Exists"}, {"key": "gpu", "value": "yes"}):
        assert place(pod({}, tolerations=[toleration]), tainted).node == "n1"
    for other in (
        {"key": "gpu", "value": "no"},
        {"key": "disk", "operator": "Exists"},
        {"key": "gpu", "operator": "Exists", "effect": "NoExecute"},
        {"value": "yes"},
    ):
        assert not place(pod({}, tolerations=[other]), tainted).node
    preferred = node(taints=[{"key": "gpu", "effect": "PreferNoSchedule"}])
    assert place(pod({}), preferred).node == "n1"


def test_an_unschedulable_node_is_passed_over_unless_it_is_tolerated() -> None:
    assert place(pod({}), node(unschedulable=True), node("n2")).node == "n2"
    tolerated = {"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}
    assert place(pod({}, tolerations=[tolerated]), node(unschedulable=True)).node == "n1"


def test_a_claim_that_can_not_be_had_is_told() -> None:
    volumes = [{"name": "v", "emptyDir": {}}, {"persistentVolumeClaim": {"claimName": "data"}}]
    wanted = pod({}, volumes=volumes)
    claim = meta.new(PERSISTENT_VOLUME_CLAIM, "data", "default")
    going = {"metadata": {**claim["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}

    def told(found: Object | None) -> str:
        known = {("data", "default"): found}
        return plan.missing_claim(wanted, lambda *where: known[where])

    assert told(claim) == ""
    assert told(None) == 'persistentvolumeclaim "data" not found'
    assert told({**claim, **going}) == 'persistentvolumeclaim "data" is being deleted'
    placement = plan.place(wanted, [node(), node("n2")], {}, told(None))
    assert placement.message == f"0/2 nodes are available: {told(None)}."


@given(st.lists(st.integers(0, 5000), max_size=8))
def test_demands_added_and_removed_leave_nothing(amounts: list[int]) -> None:
    total = plan.Demand()
    demands = [plan.demand(pod({"cpu": f"{amount}m"})) for amount in amounts]
    for demand in demands:
        total.add(demand)
    assert total.amounts["cpu"] == sum(amounts)
    for demand in demands:
        total.remove(demand)
    assert not total.pods
    assert not any(total.amounts.values())


@pytest.mark.parametrize(
    ("changes", "waits"),
    [
        ({}, True),
        ({"schedulerName": "default-scheduler"}, True),
        ({"nodeName": "n1"}, False),
        ({"schedulerName": "other"}, False),
        ({"schedulingGates": [{"name": "x"}]}, False),
    ],
)
def test_who_waits_for_us(changes: Object, waits: bool) -> None:  # noqa: FBT001 - a table
    assert plan.waits(pod({}, **changes)) is waits


def test_who_is_going_or_over_neither_waits_nor_takes_room() -> None:
    going = pod({})
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert not plan.waits(going)
    assert not plan.occupies(pod({}))
    bound = pod({}, nodeName="n1")
    for phase, takes in (("Pending", True), ("Running", True), ("Failed", False)):
        assert plan.occupies({**bound, "status": {"phase": phase}}) is takes
    assert not plan.waits({**pod({}), "status": {"phase": "Succeeded"}})
