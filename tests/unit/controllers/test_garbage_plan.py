"""What an owner's end means for its dependents."""

from __future__ import annotations

import pytest

from bessemer.cluster.controllers import namespaces
from bessemer.cluster.controllers.garbage import plan
from bessemer.cluster.controllers.garbage.plan import Delete, Keep, Owner, Unlink
from bessemer.kinds import meta
from bessemer.kinds.configmap import CONFIG_MAP
from bessemer.kinds.kind import Object


def owned_by(*uids: str) -> Object:
    references = [{"uid": uid, "kind": "K", "blockOwnerDeletion": uid == "a"} for uid in uids]
    return {"metadata": {"name": "x", "resourceVersion": "7", "ownerReferences": references}}


def judge(obj: Object, **known: Owner) -> plan.Verdict:
    return plan.judge(obj, lambda reference: known[reference["uid"]])


def test_it_stays_while_all_its_owners_live() -> None:
    assert judge(owned_by()) == Keep()
    assert judge(owned_by("a", "b"), a=Owner.THERE, b=Owner.THERE) == Keep()


def test_it_goes_with_its_last_owner() -> None:
    assert judge(owned_by("a"), a=Owner.GONE) == Delete("Background")
    assert judge(owned_by("a", "b"), a=Owner.GONE, b=Owner.GONE) == Delete("Background")


def test_how_it_goes_may_stand_on_it() -> None:
    for finalizer, propagation in ((meta.ORPHAN, "Orphan"), (meta.FOREGROUND, "Foreground")):
        obj = owned_by("a")
        obj["metadata"]["finalizers"] = [finalizer]
        assert judge(obj, a=Owner.GONE) == Delete(propagation)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({}, True),
        ({"kind": "Secret"}, False),
        ({"name": "o"}, False),
        ({"apiVersion": "a/v1"}, False),
    ],
)
def test_an_owner_is_named_by_more_than_its_uid(change: Object, named: bool) -> None:  # noqa: FBT001 - a table
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "a", **change}
    owner = meta.new(CONFIG_MAP, "owner", "here")

    assert plan.is_named(reference, CONFIG_MAP, owner, meta.new(CONFIG_MAP, "x", "here")) is named
    assert not plan.is_named(reference, CONFIG_MAP, owner, meta.new(CONFIG_MAP, "x", "there"))


def test_it_goes_thoroughly_when_an_owner_waits_for_it() -> None:
    assert judge(owned_by("a"), a=Owner.WAITING) == Delete("Foreground")


def test_it_stays_with_the_owners_that_live() -> None:
    obj = owned_by("a", "b")

    verdict = judge(obj, a=Owner.GONE, b=Owner.THERE)

    assert verdict == Unlink((obj["metadata"]["ownerReferences"][1],))


def test_one_that_is_deleted_already_is_left_alone() -> None:
    obj = owned_by("a")
    obj["metadata"]["deletionTimestamp"] = "2026-11-23T12:00:00Z"

    assert judge(obj, a=Owner.GONE) == Keep()


def test_patches_are_guarded_by_the_version_that_was_read() -> None:
    obj = owned_by("a", "b")
    obj["metadata"]["finalizers"] = ["mine", meta.ORPHAN]

    assert plan.finalizers_without(obj, meta.ORPHAN)["metadata"] == {
        "finalizers": ["mine"],
        "resourceVersion": "7",
    }
    assert [
        reference["uid"]
        for reference in plan.references_without(obj, "a")["metadata"]["ownerReferences"]
    ] == ["b"]


def test_only_references_that_say_so_block() -> None:
    assert plan.blocks(owned_by("a", "b"), "a")
    assert not plan.blocks(owned_by("a", "b"), "b")


def test_a_namespace_tells_what_is_left_in_it() -> None:
    held = meta.new(CONFIG_MAP, "a", "n")
    held["metadata"]["finalizers"] = ["acme.io/keep"]

    remaining, holding = namespaces.conditions([(CONFIG_MAP, held), (CONFIG_MAP, held)])
    _, free = namespaces.conditions([(CONFIG_MAP, meta.new(CONFIG_MAP, "a", "n"))])

    assert remaining["message"] == (
        "Some resources are remaining: configmaps. has 2 resource instances"
    )
    assert holding["message"] == (
        "Some content in the namespace has finalizers remaining: "
        "acme.io/keep in 2 resource instances"
    )
    assert (holding["status"], free["status"]) == ("True", "False")
