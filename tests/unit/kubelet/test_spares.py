"""Folders made ahead: given away, replaced, done without."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bessemer.cluster.kubelet.pods.attempts import Attempts
from bessemer.cluster.kubelet.pods.spares import Spares
from bessemer.cluster.kubelet.runtime import cgroups
from bessemer.cluster.kubelet.runtime.sandbox import SandboxRuntime
from bessemer.cluster.kubelet.runtime.zygotes import Zygotes

PATIENCE = 20.0  # seconds


@pytest.fixture
def runtime(tmp_path: Path) -> SandboxRuntime:
    return SandboxRuntime(Zygotes(tmp_path / "run", 1.0), cgroups.NO_CGROUPS)


@pytest.fixture
async def spares(tmp_path: Path, runtime: SandboxRuntime) -> AsyncIterator[Spares]:
    (tmp_path / "spares" / "of-an-earlier-agent").mkdir(parents=True)
    made = Spares(tmp_path / "spares", runtime)
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def count(folder: Path, wanted: int) -> list[Path]:
    async with asyncio.timeout(PATIENCE):
        while len(found := _find(folder)) != wanted:  # noqa: ASYNC110 -- files tell nobody
            await asyncio.sleep(0.01)
    return found


def _find(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:  # nothing was made yet
        return []


def inode(path: Path) -> int:
    return path.stat().st_ino


async def test_a_pod_and_its_first_attempt_get_what_was_made_ahead(
    tmp_path: Path, spares: Spares, runtime: SandboxRuntime
) -> None:
    ahead = await count(tmp_path / "spares", 4)
    known = {inode(path) for path in ahead}
    known |= {inode(path) for spare in ahead for path in spare.glob("containers/.spare/0")}

    pod = tmp_path / "pods" / "uid"
    spares.give(pod)
    attempts = Attempts(pod, {}, runtime)
    first = attempts.make("main", 0)

    assert inode(pod) in known
    assert inode(first) in known
    assert (first / "tmp").is_dir()
    assert pod.stat().st_mode & 0o777 == 0o700
    again = await count(tmp_path / "spares", 4)
    assert set(again) - set(ahead)


async def test_a_second_container_and_a_second_attempt_get_their_own(
    tmp_path: Path, spares: Spares, runtime: SandboxRuntime
) -> None:
    await count(tmp_path / "spares", 4)
    pod = tmp_path / "pods" / "uid"
    spares.give(pod)
    attempts = Attempts(pod, {}, runtime)
    made = [attempts.make("main", 0), attempts.make("side", 0), attempts.make("main", 1)]

    assert len({inode(path) for path in made}) == 3
    assert all(path.is_dir() for path in made)
    assert sorted(path.name for path in (pod / "containers").iterdir()) == ["main", "side"]


async def test_a_folder_that_is_there_stays(tmp_path: Path, spares: Spares) -> None:
    await count(tmp_path / "spares", 4)
    pod = tmp_path / "pods" / "uid"
    pod.mkdir(parents=True)
    before = inode(pod)
    spares.give(pod)

    assert inode(pod) == before


async def test_without_spares_the_folder_is_made(tmp_path: Path, spares: Spares) -> None:
    await count(tmp_path / "spares", 4)
    shutil.rmtree(tmp_path / "spares")
    for number in range(6):
        spares.give(tmp_path / "pods" / str(number))

    assert len(list((tmp_path / "pods").iterdir())) == 6
