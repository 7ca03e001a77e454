"""A kind is one module and one line of a table: all else follows, as a throw-away one shows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from apiserver_world import World
from bessemer.kinds import columns, rules
from bessemer.kinds.kind import Cause, Column, Kind, Object


def fill(obj: Object) -> None:
    obj.setdefault("spec", {}).setdefault("size", 3)


def find_causes(new: Object, old: Object | None) -> list[Cause]:
    size = new["spec"]["size"]
    causes = [] if size < 10 else [rules.bad("spec.size", size, "big")]
    if old is not None and new["spec"].get("name") != old["spec"].get("name"):
        causes.append(rules.immutable("spec.name", new["spec"].get("name")))
    return causes


# All that would stand in ``kinds/widget.py``; the line is its name in ``kinds/catalog.KINDS``.
WIDGET = Kind(
    "example.org",
    "v1",
    "Widget",
    "widgets",
    short_names=("wd",),
    categories=("all",),
    subresources=frozenset({"status", "scale"}),
    columns=(Column("Size", columns.path("spec.size"), "integer"), columns.AGE),
    fields={"spec.name": "spec.name"},
    default=fill,
    validate=find_causes,
    custom=True,
)
WIDGETS = "/apis/example.org/v1/namespaces/default/widgets"
TABLE = {"accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Any]:
    made: Any = World(tmp_path)
    made.machine.kinds[WIDGET.resource] = WIDGET
    await made.prepare()
    yield made
    await made.store.close()


async def test_it_is_discovered_defaulted_judged_shown_selected_and_ended(world: Any) -> None:
    (found,) = [
        one
        for one in (await world.ask("GET", "/apis/example.org/v1")).json["resources"]
        if one["name"] == "widgets"
    ]
    assert (found["shortNames"], found["categories"]) == (["wd"], ["all"])
    assert b"/openapi/v3/apis/example.org/v1" in (await world.ask("GET", "/openapi/v3")).body

    made = await world.ask("POST", WIDGETS, {"metadata": {"name": "a"}, "spec": {"name": "x"}})
    assert (made.status, made.json["spec"]) == (201, {"name": "x", "size": 3})
    refused = await world.ask("POST", WIDGETS, {"metadata": {"name": "b"}, "spec": {"size": 10}})
    assert (refused.status, refused.message) == (
        422, 'Widget.example.org "b" is invalid: spec.size: Invalid value: 10: big',
    )  # fmt: skip
    changed = {**made.json, "spec": {"name": "y", "size": 4}}
    assert (await world.ask("PUT", f"{WIDGETS}/a", changed)).status == 422

    scale = (await world.ask("GET", f"{WIDGETS}/a/scale")).json
    assert scale["kind"] == "Scale"
    status = {**made.json, "status": {"phase": "Done"}}
    told = await world.ask("PUT", f"{WIDGETS}/a/status", status)
    assert (told.json["status"], told.json["metadata"]["generation"]) == ({"phase": "Done"}, 1)
    table = (await world.ask("GET", WIDGETS, headers=TABLE)).json
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Size", "Age"]
    selected = await world.ask("GET", f"{WIDGETS}?fieldSelector=spec.name%3Dother")
    assert selected.json["items"] == []
    assert (await world.ask("DELETE", f"{WIDGETS}/a")).status == 200
    assert (await world.ask("GET", f"{WIDGETS}/a")).status == 404


async def test_who_has_no_right_to_it_does_not_see_it(world: Any) -> None:
    stranger = await world.account("stranger")

    assert (await world.ask("GET", WIDGETS, token=stranger)).status == 403
