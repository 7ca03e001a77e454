"""The laws of ``artifacts.store``, over every place that keeps artifacts."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from bessemer.artifacts.store import (
    ArtifactError,
    Elsewhere,
    Entry,
    EntryKind,
    Foreign,
    Missing,
    TooLarge,
    Unreadable,
)
from bessemer.artifacts.volume import VolumeStore

from .conftest import OTHER, TEAM, Killed, Place, dying, open_place, pieces

MIB = 1 << 20
#: Writes a half of a file, says so, and waits.
WRITER = """
import asyncio, sys
from pathlib import Path
from bessemer.artifacts.volume import VolumeStore

async def pieces():
    yield b"x" * (1 << 20)
    print("half", flush=True)
    await asyncio.Event().wait()

store = VolumeStore(Path(sys.argv[1]))
asyncio.run(store.write("team", sys.argv[2], pieces()))
"""


# What is written is read.


async def test_a_file_is_written_found_read_and_deleted(place: Place) -> None:
    content = os.urandom(MIB + 7)
    uri = place.uri("p/run/model")

    await place.store.write(TEAM, uri, pieces(content[:99], b"", content[99:]))

    assert await place.store.find(TEAM, uri) == Entry("", EntryKind.FILE, len(content))
    assert await place.content("p/run/model") == content
    assert await place.content("p/run/model", range(5, 300_000)) == content[5:300_000]
    assert await place.content("p/run/model", range(MIB, 9 * MIB)) == content[MIB:]

    await place.store.delete(TEAM, uri)
    await place.store.delete(TEAM, uri)
    assert await place.store.find(TEAM, uri) is None
    with pytest.raises(Missing):
        await place.store.open(TEAM, uri)


async def test_a_file_is_replaced_as_a_whole(place: Place) -> None:
    await place.put("p/a", b"the first")
    opened = await place.store.open(TEAM, place.uri("p/a"))
    await place.put("p/a", b"2nd")

    assert await place.content("p/a") == b"2nd"
    again = await place.store.open(TEAM, place.uri("p/a"))
    again.close()
    assert again.version != opened.version
    # Who reads an earlier one gets it, or is told; never a mixture of the two.
    try:
        read = b"".join([piece async for piece in opened.read(range(opened.size))])
    except Unreadable:
        read = b""
    finally:
        opened.close()
        opened.close()
    assert read in (b"the first", b"")


async def test_an_empty_file_is_one(place: Place) -> None:
    await place.put("p/empty")

    assert await place.content("p/empty") == b""
    assert (await place.listed("p")) == {"empty": 0}


async def test_a_folder_is_listed_and_deleted_with_all_in_it(place: Place) -> None:
    names = [f"{letter}/{number}" for letter in ("a", "b/c") for number in range(140)]
    for some in range(0, len(names), 40):
        each = names[some : some + 40]
        await asyncio.gather(*(place.put(f"p/model/{name}", b"xy") for name in each))
    await place.put("p/model.json", b"beside")

    assert await place.listed("p/model") == dict.fromkeys(names, 2)
    assert await place.listed("p/model.json") == {"": 6}
    found = await place.store.find(TEAM, place.uri("p/model"))
    assert found == Entry("", EntryKind.FOLDER, 0)
    with pytest.raises(Unreadable):
        await place.store.open(TEAM, place.uri("p/model"))

    await place.store.delete(TEAM, place.uri("p/model"))
    assert await place.listed() == {"p/model.json": 6}
    with pytest.raises(Missing):
        await place.listed("p/model")


async def test_a_folder_is_no_place_for_a_file(place: Place) -> None:
    await place.put("p/model/part", b"x")
    for uri in (place.uri("p/model"), "minio://"):
        with pytest.raises(ArtifactError):
            await place.store.write(TEAM, uri, pieces(b"y"))
    with pytest.raises(Elsewhere):
        await place.store.delete(TEAM, "minio://")

    assert await place.listed() == {"p/model/part": 1}


# Before a pod, and after it.


async def test_a_step_has_its_folders_and_what_it_left_is_read(place: Place) -> None:
    roots = [place.uri(f"p/run/step-{number}") for number in range(3)]
    assert await place.store.lay_out(TEAM, roots[:1]) == {}
    assert await place.store.lay_out(TEAM, roots) == {}
    await place.put("p/run/step-0/output.json", b"{}")
    await place.put("p/run/step-0/.parameter-big", b"x" * MIB)

    wanted = ["output.json", ".parameter-big", "none"]
    found = await place.store.read_files(TEAM, roots[0], wanted, MIB)
    assert found == {"output.json": b"{}", ".parameter-big": b"x" * MIB, "none": None}
    with pytest.raises(TooLarge, match=r"\.parameter-big must not be larger than 1048575 bytes"):
        await place.store.read_files(TEAM, roots[0], wanted, MIB - 1)
    empty = await place.store.read_files(TEAM, roots[1], ["output.json"], MIB)
    assert empty == {"output.json": None}


async def test_a_pod_gets_at_its_folder(place: Place) -> None:
    folder = place.uri("p/run/step")
    attached = place.store.attach(TEAM, folder)

    volumes = {volume["name"] for volume in attached.volumes}
    assert {mount["name"] for mount in attached.mounts} <= volumes
    paths = [mount["mountPath"] for mount in attached.mounts]
    assert any(f"{attached.path(folder)}/".startswith(f"{path}/") for path in paths)
    with pytest.raises(Elsewhere):
        place.store.attach(TEAM, f"{folder}/../..")


# Whose it is.


@pytest.mark.parametrize(
    "path", ["..", "../other/x", "p/../../x", "a/./../../b", "p/\0", "minio://.drafts/x"]
)
async def test_what_leads_out_is_refused_by_every_verb(place: Place, path: str) -> None:
    uri = path if path.startswith("minio://") else place.uri(path)
    store = place.store

    with pytest.raises(Elsewhere):
        store.place(TEAM, uri)
    for verb in (store.find, store.open, store.delete):
        with pytest.raises(Elsewhere):
            await verb(TEAM, uri)
    with pytest.raises(Elsewhere):
        await store.write(TEAM, uri, pieces(b"x"))
    with pytest.raises(Elsewhere):
        await store.lay_out(TEAM, [uri])
    with pytest.raises(Elsewhere):
        await store.read_files(TEAM, uri, ["x"], MIB)
    with pytest.raises(Elsewhere):
        await anext(store.list(TEAM, uri))


@pytest.mark.parametrize("uri", ["s3://bucket/x", "https://x/y", "data.csv", "", "oci://r/i:1"])
async def test_another_sort_of_store_is_told_apart(place: Place, uri: str) -> None:
    with pytest.raises(Foreign):
        place.store.place(TEAM, uri)
    with pytest.raises(Foreign):
        await place.store.find(TEAM, uri)


async def test_upstreams_built_in_store_is_this_one(place: Place) -> None:
    spelled = place.store.place(TEAM, "minio://mlpipeline//v2/./artifacts/")
    await place.store.write(TEAM, f"{spelled}/x", pieces(b"1"))

    assert place.store.place(TEAM, spelled) == spelled
    found = await place.store.find(TEAM, "minio://mlpipeline/v2/artifacts/x")
    assert found == Entry("", EntryKind.FILE, 1)


async def test_no_namespace_sees_another_ones(place: Place) -> None:
    await place.put("p/model", b"secret", OTHER)
    await place.put("q", b"mine")

    assert await place.store.find(TEAM, place.uri("p/model")) is None
    assert await place.listed() == {"q": 4}
    # The other's own URI is refused, or means what it means in this namespace: nothing is there.
    answers = [await told(place, place.uri(path, OTHER)) for path in ("p/model", "p/none")]
    assert answers[0].replace("model", "none") == answers[1]


async def told(place: Place, uri: str) -> str:
    """What is said of a URI, refusals too."""
    try:
        return str(await place.store.find(TEAM, uri))
    except Elsewhere as refused:
        return str(refused)


# Links.


def folder_of(place: Place) -> Path:
    """Where somebody puts what he likes."""
    assert place.disk is not None
    return place.disk


async def test_no_link_is_followed_out_of_the_place(on_disk: Place, tmp_path: Path) -> None:
    place, disk = on_disk, folder_of(on_disk)
    outside = tmp_path / "outside"
    there = place.uri("link")

    def lay_out() -> None:
        (outside / "deep").mkdir(parents=True)
        (outside / "deep" / "file").write_text("secret")
        (disk / "link").symlink_to(outside)
        (disk / "p").mkdir()
        (disk / "p" / "file").symlink_to(outside / "deep" / "file")
        (disk / "p" / "pipe").mkdir()
        os.mkfifo(disk / "p" / "fifo")

    await asyncio.to_thread(lay_out)
    store = place.store
    assert await store.find(TEAM, f"{there}/deep/file") is None
    assert await store.find(TEAM, f"{there}/deep") is None
    for uri in (f"{there}/deep/file", place.uri("p/file"), place.uri("p/fifo")):
        with pytest.raises(Unreadable):
            await store.open(TEAM, uri)
    for name in ("file", "fifo", "pipe"):
        with pytest.raises(Unreadable, match="must be a plain file"):
            await store.read_files(TEAM, place.uri("p"), [name], MIB)
    with pytest.raises(Unreadable):
        await store.read_files(TEAM, f"{there}/deep", ["file"], MIB)
    with pytest.raises(Unreadable):
        await store.write(TEAM, f"{there}/deep/new", pieces(b"x"))
    refused = await store.lay_out(TEAM, [f"{there}/new", place.uri("p/good")])
    assert list(refused) == [f"{there}/new"]
    assert await place.listed() == {}
    with pytest.raises(Unreadable):
        await store.delete(TEAM, f"{there}/deep/file")
    await store.delete(TEAM, there)

    left = await asyncio.to_thread(lambda: sorted(path.name for path in outside.rglob("*")))
    assert left == ["deep", "file"]
    assert await asyncio.to_thread((outside / "deep" / "file").read_text) == "secret"


async def test_a_link_does_not_tell_what_it_leads_to(on_disk: Place, tmp_path: Path) -> None:
    place, disk = on_disk, folder_of(on_disk)

    def lay_out() -> None:
        (tmp_path / "there").touch()
        (disk / "a").symlink_to(tmp_path / "there")
        (disk / "b").symlink_to(tmp_path / "absent")

    await asyncio.to_thread(lay_out)
    texts = []
    for name in ("a", "b"):
        with pytest.raises(Unreadable) as refused:
            await place.store.open(TEAM, place.uri(name))
        texts.append(str(refused.value).replace(place.uri(name), "?"))
    assert texts[0] == texts[1]


async def test_folders_without_end_are_not_walked(on_disk: Place) -> None:
    place, disk = on_disk, folder_of(on_disk)

    def dig() -> None:
        (disk / Path(*"d" * 100)).mkdir(parents=True)

    await asyncio.to_thread(dig)
    with pytest.raises(Unreadable, match="64 deep"):
        await place.listed()
    await place.store.delete(TEAM, place.uri("d"))
    assert await place.listed() == {}


# A writer that is killed.


async def test_of_a_file_whose_writer_died_nothing_is_seen(place: Place) -> None:
    await place.put("p/old", b"whole")
    for name in ("old", "new"):
        with pytest.raises(Killed):
            await place.store.write(TEAM, place.uri(f"p/{name}"), dying(b"half", b"x" * MIB))

    assert await place.listed() == {"p/old": 5}
    assert await place.content("p/old") == b"whole"
    assert await place.store.find(TEAM, place.uri("p/new")) is None


async def test_of_a_writer_that_was_killed_at_once_nothing_is_seen(tmp_path: Path) -> None:
    async with open_place("volume", tmp_path) as place:
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, str(tmp_path / "volume"), place.uri("p/model"),
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert program.stdout is not None
        assert await program.stdout.readline() == b"half\n"
        program.kill()
        await program.wait()

        assert await place.listed() == {}
        assert await place.store.find(TEAM, place.uri("p")) is None
        assert isinstance(place.store, VolumeStore)
        await place.store.discard_drafts(TEAM)
        left = await asyncio.to_thread(lambda: list((tmp_path / "volume").rglob("*")))
        assert not [path for path in left if path.is_file()]


# Logs of pods that are gone.


async def test_a_log_is_kept_whole_or_not_at_all(place: Place) -> None:
    await place.logs.keep("r1", "pod", pieces(b"one\n", b"two\n"))
    with pytest.raises(Killed):
        await place.logs.keep("r1", "pod", dying(b"half"))
    with pytest.raises(Killed):
        await place.logs.keep("r1", "other", dying(b"half"))

    async def read(name: str, tail_lines: int | None = None) -> bytes:
        found = place.logs.read("r1", name, tail_lines=tail_lines)
        return b"".join([piece async for piece in found])

    assert await read("pod") == b"one\ntwo\n"
    assert await read("pod", 1) == b"two\n"
    with pytest.raises(Missing):
        await read("other")
    await place.logs.forget("r1")
    await place.logs.forget("r1")
    with pytest.raises(Missing):
        await read("pod")
