"""The store's promises: committed reads, pending conflicts, order, restarts, clear refusals."""

import asyncio
import sqlite3
from pathlib import Path

import orjson
import pytest

from bessemer.base.errors import BessemerError
from bessemer.cluster.store.encryption import Sealer, load
from bessemer.cluster.store.records import Key
from bessemer.cluster.store.store import Store
from bessemer.kinds.kind import Object
from bessemer.kube.errors import ServiceUnavailable


def make_key(name: str, namespace: str = "default", resource: str = "configmaps") -> Key:
    return Key(resource, namespace, name)


def make_object(name: str, **data: object) -> Object:
    return {"metadata": {"name": name, "uid": f"uid-{name}"}, "data": data}


async def test_a_write_is_read_only_once_it_is_committed(store: Store) -> None:
    key = make_key("a")
    done = store.put(key, make_object("a"))
    assert store.get(key) is None
    assert store.latest(key) is not None
    record = await done
    assert store.get(key) is record
    assert record.object["metadata"]["resourceVersion"] == str(record.version) == "2"
    assert orjson.loads(record.data) == record.object


async def test_a_removed_object_is_pending_gone_and_then_gone(store: Store) -> None:
    key = make_key("a")
    record = await store.put(key, make_object("a"))
    done = store.remove(record)
    assert store.latest(key) is None
    assert store.get(key) is record
    last = await done
    assert store.get(key) is None
    assert last.version == 3
    assert record.object["metadata"]["resourceVersion"] == "2"


async def test_lists_are_sorted_and_kept_apart_by_namespace(store: Store) -> None:
    keys = [make_key("b", "y"), make_key("a", "y"), make_key("c", "x"), make_key("z", "", "nodes")]
    await asyncio.gather(*(store.put(key, make_object(key.name)) for key in keys))
    assert [str(record.key) for record in store.list("configmaps")] == [
        "configmaps/x/c",
        "configmaps/y/a",
        "configmaps/y/b",
    ]
    assert [record.key.name for record in store.list("configmaps", "y")] == ["a", "b"]
    assert store.list("configmaps", "nowhere") == []
    assert [record.key.name for record in store.list("nodes")] == ["z"]


async def test_writes_of_one_moment_keep_their_order(store: Store) -> None:
    key = make_key("a")
    first = store.put(key, make_object("a", n=1))
    second = store.put(key, make_object("a", n=2))
    third = store.remove(await second)
    fourth = store.put(key, make_object("a", n=4))
    versions = [(await each).version for each in (first, second, third, fourth)]
    assert versions == sorted(versions)
    stored = store.get(key)
    assert stored is not None
    assert stored.object["data"] == {"n": 4}


async def test_everything_is_there_after_a_restart_and_versions_go_on(path: Path) -> None:
    store = Store(path)
    kept = await store.put(make_key("kept"), make_object("kept", k="v"))
    last = await store.remove(await store.put(make_key("gone"), make_object("gone")))
    await store.close()

    again = Store(path)
    try:
        assert again.version == last.version == 4
        assert again.list("configmaps") == [kept]
        assert (await again.put(make_key("new"), make_object("new"))).version == 5
    finally:
        await again.close()


async def test_a_closed_store_refuses_writes(path: Path) -> None:
    store = Store(path)
    late = store.put(make_key("a"), make_object("a"))
    closing = asyncio.ensure_future(store.close())
    await closing
    assert (await late).version == 2
    with pytest.raises(ServiceUnavailable, match="shutting down"):
        store.put(make_key("b"), make_object("b"))


async def test_a_caller_that_was_cancelled_does_not_undo_its_write(store: Store) -> None:
    async def write() -> None:
        await store.put(make_key("a"), make_object("a"))

    task = asyncio.create_task(write())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.put(make_key("b"), make_object("b"))
    assert store.get(make_key("a")) is not None


async def test_what_is_no_json_fails_its_own_caller_only(store: Store) -> None:
    fine = store.put(make_key("fine"), make_object("fine"))
    with pytest.raises(TypeError):
        store.put(make_key("a"), make_object("a", broken=object()))
    await fine
    await store.put(make_key("b"), make_object("b"))
    assert [record.key.name for record in store.list("configmaps")] == ["b", "fine"]


async def test_secrets_are_sealed_in_the_file_and_open_in_memory(path: Path) -> None:
    codecs = {"secrets": load(path.with_name("key"))}
    store = Store(path, codecs)
    key = make_key("s", resource="secrets")
    await store.put(key, make_object("s", password="hunter2hunter2"))
    await store.put(make_key("c"), make_object("c", plain="visible-visible"))
    await store.close()

    rest = b"".join(file.read_bytes() for file in path.parent.glob("objects.db*"))
    assert b"hunter2hunter2" not in rest
    assert b"visible-visible" in rest
    again = Store(path, codecs)
    record = again.get(key)
    await again.close()
    assert record is not None
    assert record.object["data"] == {"password": "hunter2hunter2"}


async def test_another_homes_key_is_refused_in_one_line(path: Path) -> None:
    store = Store(path, {"secrets": Sealer([b"1" * 32])})
    await store.put(make_key("s", resource="secrets"), make_object("s"))
    await store.close()
    with pytest.raises(BessemerError, match="put back the key file") as caught:
        Store(path, {"secrets": Sealer([b"2" * 32])})
    assert "\n" not in str(caught.value)


async def test_a_file_of_a_newer_program_is_refused_and_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(BessemerError, match="newer Bessemer"):
        Store(path)
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (99,)
    db.close()


@pytest.mark.parametrize("place", [0, 5000])
async def test_a_damaged_file_is_refused(path: Path, place: int) -> None:
    store = Store(path)
    await asyncio.gather(
        *(store.put(make_key(f"n{n}"), make_object(f"n{n}", x="y" * 300)) for n in range(50))
    )
    await store.close()
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"\xff" * 4000)
    with pytest.raises(BessemerError, match="damaged"):
        Store(path)


async def test_a_missing_folder_is_refused(path: Path) -> None:
    with pytest.raises(BessemerError, match="make its folder exist"):
        Store(path / "deeper" / "objects.db")
