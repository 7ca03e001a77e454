"""Which pods fit, and upstream's words when none does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.cluster.scheduler import plan
from bessemer.resources import meta
from bessemer.resources.kind import Object
from bessemer.resources.node import NODE
from bessemer.resources.pod import POD


def node(name: str = "n1", cpu: str = "2", memory: str = "4Gi", **spec: Any) -> Object:
    allocatable = {"cpu": cpu, "memory": memory, "pods": "3"}
    labels = {"disk": "ssd"}
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


def test_too_many_pods() -> None:
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


def test_taints_need_tolerations() -> None:
    tainted = node(taints=[{"key": "gpu", "value": "yes", "effect": "NoSchedule"}])
    assert place(pod({}), tainted).message == (
        "0/1 nodes are available: 1 node(s) had untolerated taint(s)."
    )
    for toleration in ({"operator": "Exists"}, {"key": "gpu", "value": "yes"}):
        assert place(pod({}, tolerations=[toleration]), tainted).node == "n1"
    assert not place(pod({}, tolerations=[{"key": "gpu", "value": "no"}]), tainted).node


def test_an_unschedulable_node_is_passed_over() -> None:
    assert place(pod({}), node(unschedulable=True), node("n2")).node == "n2"


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
        ({"nodeName": "n1"}, False),
        ({"schedulerName": "other"}, False),
        ({"schedulingGates": [{"name": "x"}]}, False),
    ],
)
def test_who_waits_for_us(changes: Object, waits: bool) -> None:  # noqa: FBT001 - a table
    assert plan.waits(pod({}, **changes)) is waits
