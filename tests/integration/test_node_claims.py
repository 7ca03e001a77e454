"""Claims' folders: whose they are, what becomes of them, and what a crash leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bessemer.base.home import Home
from bessemer.cluster.kubelet.volumes import claimfolders
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIM
from node_cluster import Cluster, open_cluster

VOLUME = {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}
MOUNT = [{"name": "v", "mountPath": "/d"}]


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with open_cluster(tmp_path / "home") as opened:
        yield opened


@asynccontextmanager
async def store_alone(root: Path) -> AsyncIterator[Cluster]:
    """A cluster on the home, for what happens to it before the next one begins."""
    async with open_cluster(root) as opened:
        yield opened


async def until(holds: Callable[[], bool]) -> None:
    """Wait for the disk, which tells nobody of its changes."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 -- files tell nobody
            await asyncio.sleep(0.01)


def claim(uid: str, name: str = "data", phase: str = "Bound") -> Object:
    obj = meta.new(PERSISTENT_VOLUME_CLAIM, name, "team")
    obj["metadata"]["uid"] = uid
    return {**obj, "status": {"phase": phase}}


async def test_a_folder_bears_the_uid_and_is_seen_by_the_name(cluster: Cluster) -> None:
    made = await cluster.bound("data")
    await cluster.run("a", "sh", "-c", "echo here > /d/x", volumeMounts=MOUNT, spec=VOLUME)
    await cluster.finished("a")
    found = await cluster.client.get(PERSISTENT_VOLUME_CLAIM, "data", "default")

    assert (cluster.home.claim_folder(meta.uid(found)) / "x").read_text() == "here\n"
    assert (made / "x").read_text() == "here\n"


async def test_a_deleted_claims_files_go_and_a_new_one_is_empty(cluster: Cluster) -> None:
    made = await cluster.bound("data")
    before = made.resolve()
    (made / "x").write_text("secret")
    await cluster.client.delete(PERSISTENT_VOLUME_CLAIM, "data", "default")
    await until(lambda: not before.exists())

    again = await cluster.bound("data")
    assert again == made
    assert again.resolve() != before
    assert list(again.iterdir()) == []


async def test_what_a_crash_left_is_deleted_at_the_next_start(tmp_path: Path) -> None:
    async with store_alone(tmp_path / "home") as cluster:
        kept = await cluster.bound("kept")
        (kept / "x").write_text("mine")
    home = Home(tmp_path / "home")
    # As a kill -9 just after a claim's deletion leaves it, today's release and an earlier one's.
    (home.claim_folder("0000") / "deep").mkdir(parents=True)
    (home.claim_folder("0000") / "deep" / "x").write_text("secret")
    home.claim("default", "gone").symlink_to("../.claims/0000")
    home.claim("default", "old").mkdir()
    (home.claim("default", "old") / "x").write_text("secret")
    home.claim("elsewhere", "old").mkdir(parents=True)
    home.claim("default", ".draft.new").symlink_to(kept.resolve())

    async with open_cluster(tmp_path / "home") as cluster:
        await until(lambda: len(list(home.claims.iterdir())) == 1)
        await until(
            lambda: [path.name for path in (home.volumes / "default").iterdir()] == ["kept"]
        )
        assert (kept / "x").read_text() == "mine"
        fresh = await cluster.bound("old")
        assert list(fresh.iterdir()) == []


async def test_the_folders_of_an_earlier_release_are_taken_over(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    async with store_alone(home.root) as cluster:
        made = await cluster.bound("data")
        folder = made.resolve()
    made.unlink()
    folder.rename(made)  # where it was
    (made / "x").write_text("kept\n")

    async with open_cluster(home.root) as cluster:
        await cluster.run("a", "cat", "/d/x", volumeMounts=MOUNT, spec=VOLUME)
        assert await cluster.log(await cluster.finished("a")) == "kept\n"
    assert made.resolve() == folder
    assert (made / "x").read_text() == "kept\n"


def test_a_move_that_was_cut_off_is_finished(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.claim_folder("1").mkdir(parents=True)
    (home.claim_folder("1") / "x").write_text("kept")

    claimfolders.restore(home, [claim("1")])

    assert (home.claim("team", "data") / "x").read_text() == "kept"


def test_a_folder_of_the_name_is_no_new_claims(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.claim("team", "data").mkdir(parents=True)
    (home.claim("team", "data") / "x").write_text("another's")

    made = claimfolders.ensure(home, claim("1", phase="Pending"))

    assert list(made.iterdir()) == []
    assert home.claim("team", "data").resolve() == made
    strays = [path for path, uid in claimfolders.find_strays(home) if uid != "1"]
    assert [(path / "x").read_text() for path in strays] == ["another's"]


def test_a_link_that_is_another_claims_by_now_stays(tmp_path: Path) -> None:
    home = Home(tmp_path)
    claimfolders.ensure(home, claim("1"))
    found = dict(claimfolders.find_strays(home))
    claimfolders.ensure(home, claim("2"))

    for path, uid in found.items():
        claimfolders.discard(home, path, uid)

    assert home.claim("team", "data").resolve() == home.claim_folder("2")
