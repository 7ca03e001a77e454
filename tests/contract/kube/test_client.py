"""The laws of kube.client.Client, held against every implementation."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from bessemer.base.clock import SystemClock
from bessemer.kinds import meta
from bessemer.kinds.configmap import CONFIG_MAP
from bessemer.kinds.deployment import DEPLOYMENT
from bessemer.kinds.kind import Object
from bessemer.kinds.pod import POD
from bessemer.kube.client import (
    Client,
    DeleteOptions,
    EventType,
    PatchType,
    Selection,
    WatchEvent,
)
from bessemer.kube.errors import (
    AlreadyExists,
    BadRequest,
    Conflict,
    Expired,
    Invalid,
    NotFound,
)
from bessemer.kube.informer import Informer

SPACE = "default"


def make_map(name: str, **parts: object) -> Object:
    return meta.new(CONFIG_MAP, name, SPACE, **parts)


def make_pod(name: str, **spec: object) -> Object:
    containers = [{"name": "main", "image": "python:3.11"}]
    return meta.new(POD, name, SPACE, spec={"containers": containers, **spec})


async def take(events: AsyncIterator[WatchEvent], count: int) -> list[WatchEvent]:
    """The next events that say something."""
    found: list[WatchEvent] = []
    async with asyncio.timeout(10):
        async for event in events:
            if event.type is not EventType.BOOKMARK:
                found.append(event)
            if len(found) == count:
                break
    return found


@contextlib.asynccontextmanager
async def watching(
    client: Client, selection: Selection | None = None, *, since: str
) -> AsyncIterator[AsyncIterator[WatchEvent]]:
    events = client.watch(CONFIG_MAP, selection or Selection(SPACE), since=since)
    assert isinstance(events, AsyncGenerator)
    async with contextlib.aclosing(events):
        yield events


async def test_what_was_created_is_read_as_it_was_answered(client: Client) -> None:
    made = await client.create(CONFIG_MAP, make_map("a", data={"k": "v"}, labels={"x": "y"}))
    assert made["data"] == {"k": "v"}
    assert made["metadata"]["uid"]
    assert made["metadata"]["creationTimestamp"].endswith("Z")
    assert await client.get(CONFIG_MAP, "a", SPACE) == made


async def test_the_callers_object_is_its_own_before_and_after_a_write(client: Client) -> None:
    mine = make_map("a", data={"k": "v"})
    await client.create(CONFIG_MAP, mine)
    assert mine == make_map("a", data={"k": "v"})
    mine["data"]["k"] = "changed"
    assert (await client.get(CONFIG_MAP, "a", SPACE))["data"] == {"k": "v"}


async def test_a_known_name_is_refused(client: Client) -> None:
    await client.create(CONFIG_MAP, make_map("a"))
    with pytest.raises(AlreadyExists) as caught:
        await client.create(CONFIG_MAP, make_map("a"))
    assert caught.value.message == 'configmaps "a" already exists'
    assert caught.value.details == {"name": "a", "kind": "configmaps", "group": ""} or (
        caught.value.details == {"name": "a", "kind": "configmaps"}
    )


async def test_applied_fields_are_their_managers(client: Client) -> None:
    made = await client.apply(CONFIG_MAP, make_map("a", data={"x": "1", "y": "1"}), manager="one")
    same = await client.apply(CONFIG_MAP, make_map("a", data={"x": "1", "y": "1"}), manager="one")
    with pytest.raises(Conflict, match=r'conflict with "one": \.data\.x') as refused:
        await client.apply(CONFIG_MAP, make_map("a", data={"x": "2"}), manager="two")
    forced = await client.apply(
        CONFIG_MAP, make_map("a", data={"x": "2"}), manager="two", force=True
    )
    left = await client.apply(CONFIG_MAP, make_map("a", data={}), manager="one")

    assert same["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    assert [cause["field"] for cause in (refused.value.details or {})["causes"]] == [".data.x"]
    assert forced["data"] == {"x": "2", "y": "1"}
    assert left["data"] == {"x": "2"}


async def test_generated_names_are_all_different(client: Client) -> None:
    bare: Object = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"generateName": "a-", "namespace": SPACE},
    }
    made = await asyncio.gather(*(client.create(CONFIG_MAP, bare) for _ in range(20)))
    names = {meta.name(obj) for obj in made}
    assert len(names) == 20
    assert all(name.startswith("a-") and len(name) == 7 for name in names)


async def test_what_is_not_there_is_not_found(client: Client) -> None:
    with pytest.raises(NotFound, match='configmaps "no" not found'):
        await client.get(CONFIG_MAP, "no", SPACE)
    with pytest.raises(NotFound):
        await client.update(CONFIG_MAP, make_map("no"))
    with pytest.raises(NotFound):
        await client.patch(CONFIG_MAP, "no", SPACE, {"data": {}})
    with pytest.raises(NotFound):
        await client.delete(CONFIG_MAP, "no", SPACE)


async def test_an_update_of_an_old_reading_conflicts_and_one_without_version_overwrites(
    client: Client,
) -> None:
    first = await client.create(CONFIG_MAP, make_map("a", data={"n": "1"}))
    second = await client.update(CONFIG_MAP, {**first, "data": {"n": "2"}})
    with pytest.raises(Conflict, match="the object has been modified"):
        await client.update(CONFIG_MAP, {**first, "data": {"n": "3"}})
    third = await client.update(CONFIG_MAP, make_map("a", data={"n": "4"}))
    assert third["data"] == {"n": "4"}
    assert third["metadata"]["uid"] == first["metadata"]["uid"]
    assert int(third["metadata"]["resourceVersion"]) > int(second["metadata"]["resourceVersion"])


async def test_of_many_guarded_updates_exactly_one_wins_each_round(client: Client) -> None:
    await client.create(CONFIG_MAP, make_map("a", data={"n": "0"}))
    conflicts = 0

    async def add_one() -> None:
        nonlocal conflicts
        while True:
            now = await client.get(CONFIG_MAP, "a", SPACE)
            try:
                number = str(int(now["data"]["n"]) + 1)
                await client.update(CONFIG_MAP, {**now, "data": {"n": number}})
            except Conflict:
                conflicts += 1
            else:
                return

    await asyncio.gather(*(add_one() for _ in range(8)))
    assert (await client.get(CONFIG_MAP, "a", SPACE))["data"] == {"n": "8"}
    assert conflicts > 0


async def test_patches_of_many_at_once_all_count(client: Client) -> None:
    await client.create(CONFIG_MAP, make_map("a"))
    await asyncio.gather(
        *(client.patch(CONFIG_MAP, "a", SPACE, {"data": {f"k{n}": "v"}}) for n in range(16))
    )
    assert len((await client.get(CONFIG_MAP, "a", SPACE))["data"]) == 16


async def test_json_patches_change_lists(client: Client) -> None:
    await client.create(CONFIG_MAP, make_map("a", data={"k": "v"}))
    operations = [
        {"op": "test", "path": "/data/k", "value": "v"},
        {"op": "replace", "path": "/data/k", "value": "w"},
    ]
    found = await client.patch(CONFIG_MAP, "a", SPACE, operations, patch_type=PatchType.JSON)
    assert found["data"] == {"k": "w"}


async def test_a_write_that_changes_nothing_is_none(client: Client) -> None:
    made = await client.create(CONFIG_MAP, make_map("a", data={"k": "v"}))
    assert await client.update(CONFIG_MAP, made) == made
    assert await client.patch(CONFIG_MAP, "a", SPACE, {"data": {"k": "v"}}) == made


async def test_status_and_the_rest_are_written_apart(client: Client) -> None:
    pod = await client.create(POD, {**make_pod("a"), "status": {"phase": "Running"}})
    assert pod["status"]["phase"] == "Pending"
    status = {**pod["status"], "phase": "Running"}
    changed = {**pod, "status": status, "spec": {"nodeName": "ignored"}}
    running = await client.update(POD, changed, subresource="status")
    assert running["status"]["phase"] == "Running"
    assert running["spec"] == pod["spec"]
    labelled = await client.patch(
        POD, "a", SPACE, {"metadata": {"labels": {"x": "y"}}, "status": {"phase": "Failed"}}
    )
    assert labelled["status"]["phase"] == "Running"
    assert labelled["metadata"]["labels"] == {"x": "y"}


async def test_generation_counts_changes_of_the_spec_only(client: Client) -> None:
    labels = {"app": "a"}
    template = {"metadata": {"labels": labels}, "spec": make_pod("x")["spec"]}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    made = await client.create(DEPLOYMENT, meta.new(DEPLOYMENT, "a", SPACE, spec=spec))
    assert made["metadata"]["generation"] == 1
    scaled = await client.patch(DEPLOYMENT, "a", SPACE, {"spec": {"replicas": 3}})
    assert scaled["metadata"]["generation"] == 2
    patch = {"status": {"observedGeneration": 2}}
    seen = await client.patch(DEPLOYMENT, "a", SPACE, patch, subresource="status")
    assert seen["metadata"]["generation"] == 2
    assert seen["status"] == {"observedGeneration": 2}


async def test_lists_select_by_labels_and_fields(client: Client) -> None:
    for name, labels in (("a", {"x": "1"}), ("b", {"x": "2"}), ("c", {})):
        await client.create(CONFIG_MAP, make_map(name, labels=labels))

    async def names(**parts: str) -> list[str]:
        found = await client.list(CONFIG_MAP, Selection(SPACE, **parts))
        return [meta.name(obj) for obj in found.items]

    assert await names() == ["a", "b", "c"]
    assert await names(labels="x in (1,2),x!=2") == ["a"]
    assert await names(labels="!x") == ["c"]
    assert await names(fields="metadata.name=b") == ["b"]
    assert await names(fields="metadata.name!=b", labels="x") == ["a"]
    with pytest.raises(BadRequest, match=r"\"spec\.no\" is not a known field selector"):
        await names(fields="spec.no=1")
    with pytest.raises(BadRequest, match="unable to parse requirement"):
        await names(labels="x in 1")


async def test_a_watch_from_a_list_sees_each_later_change_once_in_order(client: Client) -> None:
    await client.create(CONFIG_MAP, make_map("before"))
    since = (await client.list(CONFIG_MAP, Selection(SPACE))).resource_version
    async with watching(client, since=since) as events:
        await client.create(CONFIG_MAP, make_map("a", data={"n": "1"}))
        await client.patch(CONFIG_MAP, "a", SPACE, {"data": {"n": "2"}})
        first = await take(events, 2)
        await client.delete(CONFIG_MAP, "a", SPACE)
        last = await take(events, 1)
    told = [(event.type, event.object["data"]["n"]) for event in [*first, *last]]
    assert told == [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")]
    versions = [int(event.object["metadata"]["resourceVersion"]) for event in [*first, *last]]
    assert versions == sorted(set(versions))
    assert versions[0] > int(since)


async def test_a_selecting_watch_sees_objects_come_and_leave(client: Client) -> None:
    since = (await client.list(CONFIG_MAP)).resource_version
    async with watching(client, Selection(SPACE, labels="x=1"), since=since) as events:
        await client.create(CONFIG_MAP, make_map("a"))
        for value in ("1", "2"):
            await client.patch(CONFIG_MAP, "a", SPACE, {"metadata": {"labels": {"x": value}}})
        found = await take(events, 2)
    assert [event.type for event in found] == ["ADDED", "DELETED"]
    assert meta.labels(found[1].object) == {"x": "1"}


@pytest.mark.node  # etcd forgets only what it is told to
async def test_a_watch_from_too_long_ago_is_told_to_list_again(client: Client) -> None:
    made = await client.create(CONFIG_MAP, make_map("a"))
    old = str(int(made["metadata"]["resourceVersion"]) - 1_000_000)
    with pytest.raises((Expired, BadRequest)):
        async with watching(client, since=old) as events:
            await take(events, 1)


async def test_finalizers_hold_a_deleted_object_until_they_are_gone(client: Client) -> None:
    held = make_map("a")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    made = await client.create(CONFIG_MAP, held)
    await client.delete(CONFIG_MAP, "a", SPACE)
    marked = await client.get(CONFIG_MAP, "a", SPACE)
    assert meta.is_deleting(marked)
    with pytest.raises(Invalid, match="no new finalizers can be added"):
        await client.patch(
            CONFIG_MAP, "a", SPACE,
            {"metadata": {"finalizers": ["example.com/hold", "example.com/late"]}},
        )  # fmt: skip
    await client.patch(CONFIG_MAP, "a", SPACE, {"metadata": {"finalizers": None}})
    with pytest.raises(NotFound):
        await client.get(CONFIG_MAP, "a", SPACE)
    again = await client.create(CONFIG_MAP, make_map("a"))
    assert again["metadata"]["uid"] != made["metadata"]["uid"]


async def test_delete_preconditions_guard_against_a_namesake(client: Client) -> None:
    made = await client.create(CONFIG_MAP, make_map("a"))
    with pytest.raises(
        Conflict, match=r"the UID in the precondition \(other\) does not match the UID in record"
    ):
        await client.delete(CONFIG_MAP, "a", SPACE, DeleteOptions(uid="other"))
    with pytest.raises(Conflict, match=r"ResourceVersion in the precondition"):
        await client.delete(CONFIG_MAP, "a", SPACE, DeleteOptions(resource_version="1000000"))
    options = DeleteOptions(
        uid=meta.uid(made), resource_version=made["metadata"]["resourceVersion"]
    )
    await client.delete(CONFIG_MAP, "a", SPACE, options)
    assert (await client.list(CONFIG_MAP, Selection(SPACE))).items == []


@pytest.mark.parametrize(
    ("propagation", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")]
)
async def test_how_dependents_end_is_left_to_the_garbage_collector(
    client: Client, propagation: str, finalizer: str
) -> None:
    await client.create(CONFIG_MAP, make_map("a"))
    await client.delete(CONFIG_MAP, "a", SPACE, DeleteOptions(propagation))
    marked = await client.get(CONFIG_MAP, "a", SPACE)
    assert meta.is_deleting(marked)
    assert marked["metadata"]["finalizers"] == [finalizer]


async def test_a_pod_on_a_node_has_its_grace_and_goes_when_the_node_says_so(
    client: Client,
) -> None:
    await client.create(POD, make_pod("a", nodeName="n", terminationGracePeriodSeconds=7))
    await client.create(POD, make_pod("unbound"))
    for name in ("a", "unbound"):
        await client.delete(POD, name, SPACE)
    (left,) = (await client.list(POD, Selection(SPACE))).items
    assert (meta.name(left), meta.is_deleting(left)) == ("a", True)
    assert left["metadata"]["deletionGracePeriodSeconds"] == 7
    await client.delete(POD, "a", SPACE, DeleteOptions(grace_seconds=0))
    assert (await client.list(POD, Selection(SPACE))).items == []


async def test_an_informer_follows(client: Client) -> None:
    await client.create(CONFIG_MAP, make_map("before"))
    informer = Informer(client, SystemClock(), CONFIG_MAP, Selection(SPACE))
    told: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    informer.subscribe(lambda type_, obj: told.put_nowait((type_.value, meta.name(obj))))
    task = asyncio.create_task(informer.run())
    async with asyncio.timeout(20):
        await informer.wait_synced()
        await client.create(CONFIG_MAP, make_map("a"))
        await client.delete(CONFIG_MAP, "before", SPACE)
        events = [await told.get() for _ in range(3)]
    assert events == [("ADDED", "before"), ("ADDED", "a"), ("DELETED", "before")]
    assert [meta.name(obj) for obj in informer.list()] == ["a"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
