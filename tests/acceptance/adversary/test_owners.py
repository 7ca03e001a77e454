"""Owner references from another namespace: they hold nobody up."""

from __future__ import annotations

import pytest

from adversary_world import World

pytestmark = pytest.mark.timeout(60)


def maps(tenant: str) -> str:
    return f"/api/v1/namespaces/{tenant}/configmaps"


def test_a_dependent_in_another_namespace_blocks_no_deletion(world: World) -> None:
    status, owner = world.ask("POST", maps("b"), {"metadata": {"name": "owner"}}, tenant="b")
    assert status == 201, owner
    reference = {
        "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "blockOwnerDeletion": True,
        "uid": owner["metadata"]["uid"],
    }  # fmt: skip
    metadata = {"name": "clamp", "finalizers": ["a.example/hold"], "ownerReferences": [reference]}
    assert world.ask("POST", maps("a"), {"metadata": metadata})[0] == 201
    answer = world.ask("DELETE", f"{maps('b')}/owner?propagationPolicy=Foreground", tenant="b")
    assert answer[0] == 200, answer
    world.bessemer.until(
        maps("b"), lambda found: "owner" not in [each["metadata"]["name"] for each in found], 15
    )
    # It had no owner here: it goes as what has lost its owner does, once it is let go.
    free = {"metadata": {"finalizers": None}}
    world.bessemer.request(
        "PATCH", f"{maps('a')}/clamp", free, content_type="application/merge-patch+json"
    )
    world.bessemer.until(
        maps("a"), lambda found: "clamp" not in [each["metadata"]["name"] for each in found], 15
    )


def test_orphaning_writes_to_no_other_namespace(world: World) -> None:
    status, owner = world.ask("POST", maps("b"), {"metadata": {"name": "parent"}}, tenant="b")
    assert status == 201, owner
    reference = {
        "apiVersion": "v1", "kind": "ConfigMap", "name": "parent",
        "uid": owner["metadata"]["uid"],
    }  # fmt: skip
    child = {"name": "child", "ownerReferences": [reference]}
    assert world.ask("POST", maps("b"), {"metadata": child}, tenant="b")[0] == 201
    answer = world.ask("DELETE", f"{maps('b')}/parent?propagationPolicy=Orphan", tenant="b")
    assert answer[0] == 200, answer
    found = world.bessemer.until(
        f"{maps('b')}?fieldSelector=metadata.name%3Dchild",
        lambda found: found and not found[0]["metadata"].get("ownerReferences"),
        15,
    )
    assert len(found) == 1
