"""Which objects a selector makes a controller's own; which pods nobody needs."""

from __future__ import annotations

from bessemer.cluster.controllers import podgc
from bessemer.control import adoption
from bessemer.kinds import meta
from bessemer.kinds.kind import Object

OWNER: Object = {
    "apiVersion": "apps/v1",
    "kind": "ReplicaSet",
    "metadata": {"name": "a", "namespace": "n", "uid": "u"},
    "spec": {"selector": {"matchLabels": {"app": "a"}}},
}


def obj(name: str, app: str = "a", owner: Object | None = None) -> Object:
    references = [meta.owner_reference(owner)] if owner else []
    return {
        "metadata": {
            "name": name,
            "namespace": "n",
            "uid": name,
            "resourceVersion": "3",
            "labels": {"app": app},
            "ownerReferences": references,
        }
    }


def test_orphans_that_fit_are_adopted_and_strangers_released() -> None:
    mine, stranger = obj("mine", owner=OWNER), obj("stranger", app="b", owner=OWNER)
    orphan, other = obj("orphan"), obj("other", app="c")

    claim = adoption.claim(OWNER, [mine, stranger], [mine, stranger, orphan, other])

    assert claim == adoption.Claim([orphan], [stranger])


def test_an_ending_owner_adopts_nothing_and_releases_nothing() -> None:
    ending = meta.copy(OWNER)
    ending["metadata"]["deletionTimestamp"] = "2026-11-23T12:00:00Z"

    claim = adoption.claim(ending, [obj("stranger", app="b", owner=OWNER)], [obj("orphan")])

    assert claim == adoption.Claim([], [])


def test_only_a_controller_s_reference_makes_it_its_own() -> None:
    mine, helper = obj("mine", owner=OWNER), obj("helper", app="b")
    helper["metadata"]["ownerReferences"] = [meta.owner_reference(OWNER, controller=False)]

    assert adoption.controlled(OWNER, [mine, helper]) == [mine]
    assert adoption.claim(OWNER, [mine, helper], []) == adoption.Claim([], [])


def test_adopting_keeps_the_other_owners_and_releasing_too() -> None:
    adopted = adoption.adopt(obj("x"), OWNER)["metadata"]
    assert [entry["uid"] for entry in adopted["ownerReferences"]] == ["u"]
    assert adopted["resourceVersion"] == "3"
    assert adoption.release(obj("x", owner=OWNER), OWNER)["metadata"]["ownerReferences"] == []


def test_expressions_select_as_upstream() -> None:
    def fits(operator: str, *values: str, key: str = "app") -> bool:
        expression = {"key": key, "operator": operator, "values": list(values)}
        return adoption.matches({"matchExpressions": [expression]}, {"app": "a"})

    assert fits("In", "a", "b")
    assert not fits("NotIn", "a")
    assert fits("NotIn", "a", key="tier")
    assert fits("Exists")
    assert fits("DoesNotExist", key="tier")
    assert not adoption.matches({}, {"app": "a"})


def pod(name: str, phase: str, node: str = "one", *, deleted: bool = False) -> Object:
    made = obj(name)
    made["metadata"]["creationTimestamp"] = f"2026-11-23T12:00:0{name}Z"
    if deleted:
        made["metadata"]["deletionTimestamp"] = "2026-11-23T12:00:00Z"
    return {**made, "spec": {"nodeName": node}, "status": {"phase": phase}}


def test_the_oldest_ended_pods_beyond_the_number_go() -> None:
    pods = [pod(str(n), "Succeeded") for n in (3, 1, 2)] + [pod("4", "Running")]

    assert [meta.name(p) for p in podgc.choose(pods, {"one"}, 1)] == ["1", "2"]


def test_pods_of_a_lost_node_and_deleted_ones_without_a_node_go() -> None:
    pods = [
        pod("1", "Running", node="two"),
        pod("2", "Pending", node="", deleted=True),
        pod("3", "Running", deleted=True),
        pod("4", "Pending", node=""),
    ]

    assert [meta.name(p) for p in podgc.choose(pods, {"one"}, 9)] == ["1", "2"]
    assert [meta.name(p) for p in podgc.choose(pods, set(), 9)] == ["2"]
