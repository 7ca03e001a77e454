"""Sets of fields hold the laws of sets, and applies those of ownership, whatever is written."""

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.cluster.apiserver.fieldmanager import (
    applying,
    entries,
    fieldsets,
    mergetypes,
    objects,
    tracking,
)
from bessemer.cluster.apiserver.fieldmanager.entries import Entries, Owner, Write, owner
from bessemer.cluster.apiserver.fieldmanager.fieldsets import SELF, FieldSet
from bessemer.kinds.deployment import DEPLOYMENT
from bessemer.kinds.kind import Object
from bessemer.kube.errors import Conflict

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
TYPE = mergetypes.of(DEPLOYMENT)
Paths = frozenset[tuple[str, ...]]

STEPS = st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', 'v:"y"', "i:0"])
PATHS: st.SearchStrategy[Paths] = st.frozensets(
    st.lists(STEPS, min_size=1, max_size=4).map(tuple), max_size=8
)


def build(paths: Paths) -> FieldSet:
    found: FieldSet = {}
    for path in paths:
        node = found
        for step in path:
            node = node.setdefault(step, {})
        node[SELF] = {}
    return fieldsets.normalize(found)


def members(found: FieldSet, place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for step, below in found.items():
        if step == SELF:
            continue
        if fieldsets.is_member(below):
            yield (*place, step)
        yield from members(below, (*place, step))


def is_below(path: tuple[str, ...], others: Paths) -> bool:
    return any(path[: len(other)] == other for other in others)


@given(PATHS, PATHS, PATHS)
def test_the_algebra_is_that_of_sets(a: Paths, b: Paths, c: Paths) -> None:
    one, two = build(a), build(b)
    before = json.dumps([one, two])
    assert set(members(one)) == a
    assert fieldsets.count(one) == len(a)
    assert len(set(fieldsets.paths(one))) == len(a)
    assert fieldsets.union(one, two) == build(a | b)
    assert fieldsets.union_all([one, two, build(c)]) == build(a | b | c)
    assert fieldsets.intersection(one, two) == build(a & b)
    assert fieldsets.difference(one, two) == build(a - b)
    left = frozenset(path for path in a if not is_below(path, b))
    assert fieldsets.without(one, two) == build(left)
    assert json.dumps([one, two]) == before, "sets are shared, and never modified"
    if not a & b:
        assert fieldsets.difference(one, two) is one


# ---- what people state of a Deployment

NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.sampled_from(["1", "2"])
VARIABLE = st.fixed_dictionaries({"name": NAMES}, optional={"value": VALUES})


def by_name(element: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(element, max_size=3, unique_by=lambda found: found["name"])


CONTAINER = st.fixed_dictionaries(
    {"name": NAMES},
    optional={
        "image": VALUES,
        "args": st.lists(VALUES, max_size=2),
        "env": by_name(VARIABLE),
        "resources": st.fixed_dictionaries({"limits": st.dictionaries(NAMES, VALUES)}),
    },
)
STATED = st.fixed_dictionaries(
    {},
    optional={
        "labels": st.dictionaries(NAMES, VALUES, max_size=3),
        "finalizers": st.lists(NAMES, unique=True, max_size=3),
        "replicas": st.integers(0, 2),
        "selector": st.dictionaries(NAMES, VALUES, max_size=2),
        "containers": by_name(CONTAINER),
    },
)


def statement(parts: dict[str, Any]) -> Object:
    metadata = {key: parts[key] for key in ("labels", "finalizers") if key in parts}
    spec: Object = {key: parts[key] for key in ("replicas",) if key in parts}
    if "selector" in parts:
        spec["selector"] = {"matchLabels": parts["selector"]}
    if "containers" in parts:
        spec["template"] = {"spec": {"containers": parts["containers"]}}
    head: Object = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a", **metadata},
    }
    if spec:
        head["spec"] = spec
    return head


def apply(
    live: tuple[Object, Entries] | None, stated: Object, manager: str, *, force: bool = True
) -> tuple[Object, Entries]:
    stated = applying.read(DEPLOYMENT, json.loads(json.dumps(stated)))
    held = None if live is None else tracking.Owned(*live)
    found = applying.apply(DEPLOYMENT, held, stated, Write(manager, NOON), force=force)
    return found.object, found.entries


def update(live: tuple[Object, Entries], new: Object, manager: str) -> tuple[Object, Entries]:
    held = tracking.update(DEPLOYMENT, live[0], new, live[1], Write(manager, NOON))
    return new, held


WRITES = st.lists(
    st.tuples(st.sampled_from(["alice", "bob", "carol"]), STATED, st.booleans()),
    min_size=1,
    max_size=6,
)


def fields(held: Entries, manager: str, operation: str = "Apply") -> FieldSet:
    found = (
        entry for entry in held if (entry["manager"], entry["operation"]) == (manager, operation)
    )
    return entries.fields_of(next(found, {}))


@given(WRITES)
@settings(max_examples=200)
def test_ownership_holds_whoever_writes_what(writes: list[tuple[str, Any, bool]]) -> None:
    live: tuple[Object, Entries] | None = None
    for manager, parts, is_update in writes:
        stated = statement(parts)
        if is_update and live is not None:
            live = update(live, objects.merge(TYPE, live[0], stated), manager)
        else:
            before = json.dumps(live)
            made = apply(live, stated, manager)
            assert json.dumps(live) == before, "what is stored is never modified"
            again = apply(made, stated, manager)
            assert again == made, "applied twice is applied once"
            if mine := fields(made[1], manager):
                wanted = tracking.strip(objects.stated_fields(TYPE, stated))
                assert mine == wanted, "an applier owns what it states"
            assert not objects.compare(TYPE, made[0], objects.merge(TYPE, made[0], stated)).changed
            live = made
        obj, held = live
        there = objects.every_field(TYPE, obj)
        assert len({owner(entry) for entry in held}) == len(held)
        assert list(held) == entries.arrange(held)
        for entry in held:
            owned = entries.fields_of(entry)
            assert owned == fieldsets.normalize(owned), "in the one form of equal sets"
            assert owned
            assert not fieldsets.difference(owned, there), "nobody owns what is not there"


def has_empty(value: Any) -> bool:
    """Whether a map or list in it is empty: as upstream, such a list is nobody's to give back."""
    if not isinstance(value, dict | list):
        return False
    return not value or any(map(has_empty, value.values() if isinstance(value, dict) else value))


FULL = STATED.filter(lambda parts: not any(map(has_empty, parts.values())))


@given(FULL, FULL)
def test_what_is_applied_and_stated_no_more_is_as_if_never_applied(
    first: Any, second: Any
) -> None:
    base = apply(None, statement(first), "alice")
    try:
        both = apply(base, statement(second), "bob", force=False)
    except Conflict:
        return
    alone = apply(both, statement({}), "bob", force=False)
    assert fields(alone[1], "bob") == {}
    assert fields(alone[1], "alice") == fields(base[1], "alice")
    assert not objects.compare(TYPE, base[0], alone[0]).changed
    gone = objects.compare(TYPE, base[0], alone[0]).gone
    assert not gone, "alice's fields stay"


@given(STATED, STATED)
def test_who_agrees_shares_and_who_does_not_conflicts(first: Any, second: Any) -> None:
    base = apply(None, statement(first), "alice")
    mine = tracking.strip(objects.stated_fields(TYPE, base[0]))
    changes = objects.compare(TYPE, base[0], objects.merge(TYPE, base[0], statement(second)))
    disputed = fieldsets.intersection(mine, changes.changed)
    if disputed:
        with pytest.raises(Conflict) as refused:
            apply(base, statement(second), "bob", force=False)
        assert refused.value.details is not None
        told = [cause["field"] for cause in refused.value.details["causes"]]
        assert told == list(fieldsets.paths(disputed))
    else:
        both = apply(base, statement(second), "bob", force=False)
        assert fields(both[1], "alice") == fields(base[1], "alice")


# ---- examples of upstream's documentation and tests


def test_a_list_takes_the_applied_order_and_keeps_what_it_does_not_name() -> None:
    def order(live: str, stated: str) -> str:
        elements = [[{"name": name} for name in text] for text in (live, stated)]
        old, new = (statement({"containers": found}) for found in elements)
        merged = objects.merge(TYPE, old, new)
        return "".join(each["name"] for each in merged["spec"]["template"]["spec"]["containers"])

    assert order("ab", "c") == "abc"
    assert order("abc", "cb") == "acb"
    assert order("abc", "xb") == "axbc"
    assert order("ab", "ba") == "ba"
    assert order("", "ba") == "ba"


def test_values_of_a_key_that_stands_twice_are_one_whole() -> None:
    def env(*values: str) -> Object:
        variables = [{"name": "a", "value": value} for value in values]
        return statement({"containers": [{"name": "m", "env": variables}]})

    found = objects.compare(TYPE, env("1", "2"), env("1", "3"))
    (path,) = fieldsets.paths(found.changed)
    assert path == '.spec.template.spec.containers[name="m"].env[name="a"]'
    stated = applying.read(DEPLOYMENT, env("4"))
    live = env("1", "2")
    merged = objects.merge(TYPE, live, stated)
    container = merged["spec"]["template"]["spec"]["containers"][0]
    assert container["env"] == [{"name": "a", "value": "4"}]


def test_too_many_updaters_share_the_oldest_ones_entry() -> None:
    held: list[Object] = []
    for number in range(3000):
        write = Write(f"m{number:04}", NOON + timedelta(seconds=number))
        held.append(entries.make(DEPLOYMENT, write, "Update", {f"f:{number}": {}}))
    kept = entries.cap(entries.arrange(held))
    assert len(kept) == entries.MOST_UPDATERS
    assert kept[0]["manager"] == "ancient-changes"
    assert kept[0]["time"] == held[-10]["time"]
    assert fieldsets.union_all(map(entries.fields_of, kept)) == fieldsets.union_all(
        map(entries.fields_of, held)
    )
    appliers = [
        entries.make(DEPLOYMENT, Write(f"a{n}", NOON), "Apply", {"f:x": {}}) for n in range(99)
    ]
    assert len(entries.cap(entries.arrange(appliers))) == 99


def test_what_nests_deeper_than_any_set_is_owned_as_a_whole() -> None:
    def nest(levels: int, value: object) -> Object:
        found: Any = value
        for _ in range(levels):
            found = {"a": found}
        return {"apiVersion": "x/v1", "kind": "X", "metadata": {}, "spec": found}

    one, two = nest(230, 1), nest(230, 2)
    owned = objects.every_field(mergetypes.CUSTOM, one)
    assert len(max(members(owned), key=len)) <= fieldsets.MOST_LEVELS
    changed, gone = objects.compare(mergetypes.CUSTOM, one, two)
    assert len(list(members(changed))) == 1
    assert not gone
    assert objects.merge(mergetypes.CUSTOM, one, two) == two
    assert not objects.stated_fields(mergetypes.CUSTOM, {})
    deep: FieldSet = {}
    for _ in range(300):
        deep = {"f:a": deep}
    with pytest.raises(ValueError, match="levels"):
        fieldsets.normalize(deep)


STRUCTURAL = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "ports": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["port", "protocol"],
                    "items": {
                        "type": "object",
                        "properties": {
                            "port": {"type": "integer"},
                            "protocol": {"type": "string", "default": "TCP"},
                        },
                    },
                },
                "tags": {
                    "type": "array",
                    "x-kubernetes-list-type": "set",
                    "items": {"type": "string"},
                },
                "plain": {"type": "array", "items": {"type": "object"}},
                "whole": {
                    "type": "object",
                    "x-kubernetes-map-type": "atomic",
                    "additionalProperties": {"type": "string"},
                },
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "map": {"type": "object", "additionalProperties": {"type": "object"}},
            },
        }
    },
}


def test_a_structural_schema_says_how_parts_are_owned() -> None:
    spec = {
        "ports": [{"port": 80}],
        "tags": ["x"],
        "plain": [{"a": 1}],
        "whole": {"a": "1"},
        "free": {"a": {"b": 1}},
        "map": {"k": {"unknown": 1}},
    }
    type_ = mergetypes.from_structural(STRUCTURAL)
    found = objects.stated_fields(type_, {"metadata": {"labels": {"l": "1"}}, "spec": spec})
    assert set(fieldsets.paths(found)) == {
        ".metadata.labels.l",
        '.spec.ports[port=80,protocol="TCP"]',
        '.spec.ports[port=80,protocol="TCP"].port',
        '.spec.tags[="x"]',
        ".spec.plain",
        ".spec.whole",
        ".spec.free.a",
        ".spec.free.a.b",
        ".spec.map.k",
        ".spec.map.k.unknown",
    }


def test_conflicts_without_end_are_told_shortly() -> None:
    labels = {f"{number}" * 20: "1" for number in range(3000)}
    base = apply(None, statement({"labels": labels}), "alice")
    other = dict.fromkeys(labels, "2")
    with pytest.raises(Conflict) as refused:
        apply(base, statement({"labels": other}), "bob", force=False)
    assert refused.value.details is not None
    assert len(refused.value.details["causes"]) == 100
    assert refused.value.message.startswith('Apply failed with 3000 conflicts: conflicts with "al')
    assert len(refused.value.message) < 20_000


def test_an_owner_is_told_apart_by_name_operation_version_and_subresource() -> None:
    kinds = itertools.product(["Apply", "Update"], ["", "status"])
    made = [entries.make(DEPLOYMENT, Write("m", NOON, sub), op, {"f:a": {}}) for op, sub in kinds]
    assert len({owner(entry) for entry in made}) == 4
    newer = {**made[0], "apiVersion": "apps/v2"}
    assert owner(newer) == owner(made[0]) == Owner("m", "Apply", "", "")
    assert entries.read(json.loads(json.dumps(made))) == entries.arrange(made)
