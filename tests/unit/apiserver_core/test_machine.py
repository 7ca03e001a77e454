"""The verbs' fine print, beyond what the client contract says."""

import asyncio
import gc
import weakref

import orjson
import pytest

from bessemer.cluster.apiserver.machine import AdmitAll, Machine, make_lookup
from bessemer.cluster.store.store import Store
from bessemer.kinds import meta
from bessemer.kinds.configmap import CONFIG_MAP
from bessemer.kinds.deployment import DEPLOYMENT
from bessemer.kinds.kind import Kind, Object
from bessemer.kinds.namespace import NAMESPACE
from bessemer.kinds.pod import POD
from bessemer.kube.access import User
from bessemer.kube.client import DeleteOptions, EventType, PatchType, Selection
from bessemer.kube.errors import (
    AlreadyExists,
    BadRequest,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    NotFound,
)
from bessemer.kube.requests import Page, Target, WatchOptions

MAPS = Target(CONFIG_MAP, "default")
A_MAP = Target(CONFIG_MAP, "default", "a")


def make_map(name: str, **parts: object) -> Object:
    return meta.new(CONFIG_MAP, name, "default", **parts)


async def create_maps(machine: Machine, *names: str) -> None:
    await asyncio.gather(*(machine.create(MAPS, make_map(name)) for name in names))


async def test_a_new_object_gets_what_only_the_machine_gives(machine: Machine) -> None:
    obj = make_map("a")
    obj["metadata"] |= {
        "uid": "forged",
        "creationTimestamp": "1999-01-01T00:00:00Z",
        "deletionTimestamp": "1999-01-01T00:00:00Z",
        "selfLink": "/x",
        "managedFields": [{}],
    }
    metadata = (await machine.create(MAPS, obj)).object["metadata"]
    assert metadata["uid"] != "forged"
    assert metadata["creationTimestamp"] == "2026-11-23T12:00:00Z"
    assert set(metadata) == {"name", "namespace", "uid", "creationTimestamp", "resourceVersion"}


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"apiVersion": "v2"}, BadRequest, "the API version in the data (v2) does not match"),
        ({"kind": "Secret"}, BadRequest, "the kind in the data (Secret) does not match"),
        ({"metadata": []}, BadRequest, "metadata must be an object, but got list"),
        (
            {"metadata": {"name": "a", "namespace": "x"}},
            BadRequest,
            "does not match the namespace",
        ),
        ({"metadata": {"name": "a", "resourceVersion": "1"}}, BadRequest, "should not be set"),
        ({"metadata": {}}, Invalid, "metadata.name: Required value: name or generateName"),
        ({"metadata": {"name": "a/b"}}, Invalid, "may not contain '/'"),
        ({"metadata": {"name": ".."}}, Invalid, "may not be '..'"),
        ({"metadata": {"name": 7}}, Invalid, "must be a string"),
    ],
)
async def test_what_does_not_fit_the_request_is_refused(
    machine: Machine, change: Object, error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as caught:
        await machine.create(MAPS, {**make_map("a"), **change})
    assert text in str(caught.value)
    assert machine.list(CONFIG_MAP).records == []


async def test_of_two_creates_of_one_moment_the_second_is_refused(machine: Machine) -> None:
    answers = await asyncio.gather(
        machine.create(MAPS, make_map("a", data={"n": "1"})),
        machine.create(MAPS, make_map("a", data={"n": "2"})),
        return_exceptions=True,
    )
    assert isinstance(answers[1], AlreadyExists)
    assert machine.get(A_MAP).object["data"] == {"n": "1"}


async def test_an_update_keeps_what_a_client_cannot_change(machine: Machine) -> None:
    old = (await machine.create(MAPS, make_map("a"))).object
    new = make_map("a", data={"k": "v"})
    new["metadata"] |= {"creationTimestamp": "1999-01-01T00:00:00Z", "generation": 9}
    found = (await machine.update(A_MAP, new)).object
    assert found["data"] == {"k": "v"}
    assert found["metadata"]["uid"] == old["metadata"]["uid"]
    assert found["metadata"]["creationTimestamp"] == old["metadata"]["creationTimestamp"]
    assert "generation" not in found["metadata"]


async def test_an_update_of_a_namesake_conflicts(machine: Machine) -> None:
    await create_maps(machine, "a")
    new = make_map("a")
    new["metadata"]["uid"] = "of-the-one-before"
    with pytest.raises(Conflict, match="UID in precondition: of-the-one-before"):
        await machine.update(A_MAP, new)
    with pytest.raises(BadRequest, match="does not match the name on the URL"):
        await machine.update(A_MAP, make_map("b"))


async def test_dry_runs_answer_and_change_nothing(machine: Machine) -> None:
    made = await machine.create(MAPS, make_map("a"), dry_run=True)
    assert made.object["metadata"]["uid"]
    with pytest.raises(NotFound):
        machine.get(A_MAP)
    stored = await machine.create(MAPS, make_map("a", data={"k": "v"}))
    changed = await machine.patch(A_MAP, {"data": {"k": "w"}}, PatchType.MERGE, dry_run=True)
    assert changed.object["data"] == {"k": "w"}
    await machine.delete(A_MAP, DeleteOptions(), dry_run=True)
    await machine.delete_collection(CONFIG_MAP, Selection(), DeleteOptions(), dry_run=True)
    assert machine.get(A_MAP) is stored


async def test_a_patch_leaves_the_stored_object_as_it_was(machine: Machine, store: Store) -> None:
    class Filler(AdmitAll):
        def admit_update(
            self, kind: Kind, new: Object, old: Object, user: User, subresource: str
        ) -> Object:
            new["data"]["filled"] = {"by": "admission"}
            new["metadata"].setdefault("labels", {})["filled"] = "yes"
            return new

    filling = Machine(store, machine._clock, Filler())
    before = await machine.create(MAPS, make_map("a", data={"k": "v"}, labels={"x": "y"}))
    snapshot = orjson.loads(before.data)
    await filling.patch(A_MAP, {"data": {"n": "1"}}, PatchType.MERGE)
    assert before.object == snapshot
    assert machine.get(A_MAP).object["data"]["filled"] == {"by": "admission"}


async def test_admission_refuses_before_anything_is_stored(store: Store, machine: Machine) -> None:
    class Refuser(AdmitAll):
        def admit_create(self, kind: Kind, obj: Object, user: User) -> Object:
            raise Forbidden(f"{user.name} may not")

        def admit_delete(self, kind: Kind, obj: Object, user: User) -> None:
            raise Forbidden(f"{user.name} may not")

    await create_maps(machine, "a")
    strict = Machine(store, machine._clock, Refuser())
    with pytest.raises(Forbidden, match="eve may not"):
        await strict.create(MAPS, make_map("b"), User("eve"))
    with pytest.raises(Forbidden, match="eve may not"):
        await strict.delete(A_MAP, DeleteOptions(), User("eve"))
    assert [record.key.name for record in machine.list(CONFIG_MAP).records] == ["a"]


async def test_lookups_see_writes_on_their_way(machine: Machine, store: Store) -> None:
    lookup = make_lookup(store)
    writing = asyncio.ensure_future(machine.create(MAPS, make_map("a")))
    await asyncio.sleep(0)
    assert lookup(CONFIG_MAP, "default", "a") is not None
    await writing
    assert lookup(CONFIG_MAP, "default", "b") is None


async def test_lists_are_json_of_the_kind(machine: Machine) -> None:
    await create_maps(machine, "b", "a")
    found = orjson.loads(machine.list_raw(CONFIG_MAP))
    assert (found["kind"], found["apiVersion"]) == ("ConfigMapList", "v1")
    assert [meta.name(item) for item in found["items"]] == ["a", "b"]
    assert found["metadata"] == {"resourceVersion": str(machine.version)}
    assert orjson.loads(machine.list_raw(POD))["items"] == []


async def test_pages_tell_one_moment_whatever_happens_between_them(machine: Machine) -> None:
    await create_maps(machine, *"abcde")
    first = machine.list(CONFIG_MAP, page=Page(2))
    assert first.remaining == 3
    await machine.delete(A_MAP._replace(name="d"), DeleteOptions())
    await create_maps(machine, "aa", "zz")
    second = machine.list(CONFIG_MAP, page=Page(2, first.token))
    third = machine.list(CONFIG_MAP, page=Page(2, second.token))
    pages = (first, second, third)
    names = [record.key.name for page in pages for record in page.records]
    assert names == list("abcde")
    assert {page.version for page in pages} == {first.version}
    assert third.token == ""


async def test_foreign_and_forgotten_tokens_are_refused(machine: Machine) -> None:
    await create_maps(machine, "a", "b")
    for token in ("nonsense", "W10=", "eyJ9"):
        with pytest.raises(BadRequest, match="continue key is not valid"):
            machine.list(CONFIG_MAP, page=Page(1, token))
    token = machine.list(CONFIG_MAP, page=Page(1)).token
    for _ in range(64):
        machine.list(CONFIG_MAP, page=Page(1))
    with pytest.raises(Expired, match="continue parameter is too old"):
        machine.list(CONFIG_MAP, page=Page(1, token))


async def test_a_streamed_list_ends_with_a_bookmark_and_goes_on(machine: Machine) -> None:
    await create_maps(machine, "a", "b")
    watcher = machine.watch(CONFIG_MAP, options=WatchOptions(initial_events=True, bookmarks=True))
    await create_maps(machine, "c")
    events = await watcher.take()
    assert [event.type for event in events] == ["ADDED", "ADDED", "BOOKMARK", "ADDED"]
    mark = orjson.loads(events[2].data)
    assert mark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert mark["metadata"]["resourceVersion"] == str(events[1].version)
    assert machine.bookmark(CONFIG_MAP).version == machine.version == events[3].version
    machine.unwatch(CONFIG_MAP, watcher)


async def test_a_watch_that_is_over_is_kept_nowhere(machine: Machine) -> None:
    watcher = machine.watch(CONFIG_MAP, options=WatchOptions())
    trace = weakref.ref(watcher)
    machine.unwatch(CONFIG_MAP, watcher)

    del watcher
    gc.collect()

    assert trace() is None


async def test_a_watch_without_a_version_begins_with_the_state(machine: Machine) -> None:
    await create_maps(machine, "a")
    for since in ("", "0"):
        watcher = machine.watch(CONFIG_MAP, options=WatchOptions(since))
        assert [event.type for event in await watcher.take()] == [EventType.ADDED]
    with pytest.raises(BadRequest, match="must be a number"):
        machine.watch(CONFIG_MAP, options=WatchOptions("x"))


async def test_a_collection_is_deleted_by_its_labels(machine: Machine) -> None:
    await create_maps(machine, "a", "b")
    await machine.create(MAPS, make_map("c", labels={"x": "1"}))
    await machine.create(Target(CONFIG_MAP, "other"), meta.new(CONFIG_MAP, "d", "other"))
    selection = Selection("default", labels="!x")
    gone = await machine.delete_collection(CONFIG_MAP, selection, DeleteOptions())
    assert [record.key.name for record in gone] == ["a", "b"]
    assert [record.key.name for record in machine.list(CONFIG_MAP).records] == ["c", "d"]


async def test_scale_reads_and_writes_the_number_of_replicas(machine: Machine) -> None:
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "a", "b": "c"}}}
    await machine.create(
        Target(DEPLOYMENT, "default"), meta.new(DEPLOYMENT, "a", "default", spec=spec)
    )
    target = Target(DEPLOYMENT, "default", "a", "scale")
    found = machine.get(target).object
    assert (found["kind"], found["spec"]) == ("Scale", {"replicas": 2})
    assert found["status"] == {"replicas": 0, "selector": "app=a,b=c"}
    scaled = await machine.update(target, {**found, "spec": {"replicas": 5}})
    assert scaled.object["spec"] == {"replicas": 5}
    with pytest.raises(Conflict):
        await machine.update(target, {**found, "spec": {"replicas": 6}})
    await machine.patch(target, {"spec": {"replicas": 7}}, PatchType.MERGE)
    stored = machine.get(target._replace(subresource="")).object
    assert stored["spec"] == {**spec, "replicas": 7}
    assert stored["metadata"]["generation"] == 3


async def test_a_namespace_goes_when_it_is_finalized(machine: Machine) -> None:
    target = Target(NAMESPACE, "", "team")
    made = await machine.create(Target(NAMESPACE), meta.new(NAMESPACE, "team"))
    assert made.object["status"] == {"phase": "Active"}
    await machine.update(target, meta.new(NAMESPACE, "team", spec={"finalizers": []}))
    asked = await machine.delete(target, DeleteOptions())
    assert asked.object["status"] == {"phase": "Terminating"}
    assert asked.object["spec"] == {"finalizers": ["kubernetes"]}
    await machine.update(
        target._replace(subresource="finalize"), meta.new(NAMESPACE, "team", spec={})
    )
    with pytest.raises(NotFound):
        machine.get(target)


async def test_the_last_finalizer_of_a_deleted_object_ends_it_with_an_event(
    machine: Machine,
) -> None:
    obj = make_map("a")
    obj["metadata"]["finalizers"] = ["x/y"]
    await machine.create(MAPS, obj)
    watcher = machine.watch(CONFIG_MAP, options=WatchOptions(str(machine.version)))
    await machine.delete(A_MAP, DeleteOptions())
    await machine.patch(A_MAP, {"metadata": {"finalizers": []}}, PatchType.MERGE)
    events = await watcher.take()
    assert [event.type for event in events] == ["MODIFIED", "DELETED"]
    assert events[1].object["metadata"]["resourceVersion"] == str(machine.version)


async def test_a_refused_write_waits_for_the_write_that_refused_it(machine: Machine) -> None:
    stale = (await machine.create(MAPS, make_map("a"))).object
    writing = asyncio.ensure_future(machine.update(A_MAP, {**stale, "data": {"n": "1"}}))
    await asyncio.sleep(0)
    with pytest.raises(Conflict):
        await machine.update(A_MAP, {**stale, "data": {"n": "2"}})
    # Who reads now sees what it lost against, and does not turn in a circle.
    assert machine.get(A_MAP).object["data"] == {"n": "1"}
    await writing
