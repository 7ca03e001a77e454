"""Environments by the real uv, without an index: packages are made here."""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from bessemer.base.clock import SystemClock
from bessemer.base.home import Home
from bessemer.cluster.node.environments import BuildFailure, Environments, Wish
from bessemer.resources.lightweight import Install
from node_cluster import open_cluster

OWN = f"{sys.version_info.major}.{sys.version_info.minor}"


def make_wheel(
    folder: Path, name: str, version: str, more: Mapping[str, str] | None = None
) -> None:
    """The smallest package: a module that knows its version."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"version = '{version}'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **(more or {}),
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


def store_wheels(wheels: Path, claim: Path) -> None:
    claim.mkdir(parents=True)
    for wheel in wheels.iterdir():
        (claim / wheel.name).write_bytes(wheel.read_bytes())


def freeze(path: Path) -> bytes:
    return subprocess.run([path / "bin" / "pip", "freeze"], capture_output=True, check=True).stdout


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "wheels"
    make_wheel(folder, "ore", "1.0")
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX", "UV_DEFAULT_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.root.mkdir()
    return home


class Told:
    """The events, kept."""

    def __init__(self) -> None:
        self.events: list[str] = []

    async def __call__(self, type_: str, reason: str, message: str) -> None:
        self.events.append(f"{reason}: {message}")


def wish(*requirements: str, python: str = OWN) -> Wish:
    return Wish(python, (Install(requirements),) if requirements else ())


def python(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [path / "bin" / "python", *arguments], capture_output=True, text=True, check=False
    )


async def test_one_build_serves_all_who_wait(home: Home, wheels: Path) -> None:
    environments, told = Environments(home, SystemClock()), Told()
    found = await asyncio.gather(*(environments.ensure(wish("ore"), told) for _ in range(5)))
    assert len({each.path for each in found}) == 1
    path = found[0].path
    assert python(path, "-c", "import ore; print(ore.version)").stdout == "1.0\n"
    assert len(list((path / "lib").rglob("ore*.pyc"))) == 1
    assert told.events[0] == f"Pulling: building environment Python {OWN} with ore"


async def test_what_was_resolved_once_is_reused(home: Home, wheels: Path) -> None:
    first = await Environments(home, SystemClock()).ensure(wish("ore"), Told())
    make_wheel(wheels, "ore", "2.0")
    told = Told()
    second = await Environments(home, SystemClock()).ensure(wish("ore"), told)
    assert (second.path, told.events) == (first.path, [])
    newer = await Environments(home, SystemClock()).ensure(wish("ore>=2"), told)
    assert python(newer.path, "-c", "import ore; print(ore.version)").stdout == "2.0\n"


async def test_a_build_that_was_cut_off_is_built_anew(home: Home, wheels: Path) -> None:
    made = await Environments(home, SystemClock()).ensure(wish("ore"), Told())
    (made.path / ".ready").unlink()
    next((made.path / "lib").rglob("ore.py")).unlink()
    again = await Environments(home, SystemClock()).ensure(wish("ore"), Told())
    assert again.path == made.path
    assert python(again.path, "-c", "import ore; print(ore.version)").stdout == "1.0\n"


async def test_a_build_waits_for_one_that_a_killed_server_left(home: Home, wheels: Path) -> None:
    made = await Environments(home, SystemClock()).ensure(wish("ore"), Told())
    (made.path / ".ready").unlink()
    lock = os.open(home.environments / f".{made.path.name}.lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)  # as the uv of the killed one
    again = asyncio.create_task(Environments(home, SystemClock()).ensure(wish("ore"), Told()))
    done, _ = await asyncio.wait({again}, timeout=0.5)
    assert not done
    os.close(lock)
    assert (await again).path == made.path


async def test_a_failed_build_tells_uvs_last_lines_and_can_be_tried_again(
    home: Home, wheels: Path
) -> None:
    environments = Environments(home, SystemClock())
    with pytest.raises(BuildFailure, match="ingot"):
        await environments.ensure(wish("ingot==3"), Told())
    make_wheel(wheels, "ingot", "3")
    made = await environments.ensure(wish("ingot==3"), Told())
    assert python(made.path, "-c", "import ingot").returncode == 0


async def test_a_failed_build_leaves_nothing_on_the_disk(home: Home, wheels: Path) -> None:
    with pytest.raises(BuildFailure, match="ingot"):
        await Environments(home, SystemClock()).ensure(wish("ingot==3"), Told())
    assert [each.name for each in home.environments.iterdir() if each.is_dir()] == []


async def test_an_environment_that_cannot_be_finished_is_a_build_failure(
    home: Home, wheels: Path
) -> None:
    # A package that leaves a folder where the record's draft must go: the write fails.
    make_wheel(wheels, "spoil", "1.0", {"spoil-1.0.data/data/.ready.new/x": ""})
    with pytest.raises(BuildFailure, match="the environment could not be written"):
        await Environments(home, SystemClock()).ensure(wish("spoil"), Told())
    assert [each.name for each in home.environments.iterdir() if each.is_dir()] == []


async def test_a_stop_does_not_wait_for_a_lock(home: Home, wheels: Path) -> None:
    made = await Environments(home, SystemClock()).ensure(wish("ore"), Told())
    (made.path / ".ready").unlink()
    environments = Environments(home, SystemClock())
    with (home.environments / f".{made.path.name}.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waits = asyncio.create_task(environments.ensure(wish("ore"), Told()))
        done, _ = await asyncio.wait({waits}, timeout=0.5)
        await environments.close()
        assert not done
        with pytest.raises(asyncio.CancelledError):
            await waits


async def test_one_who_gives_up_does_not_stop_the_build(home: Home, wheels: Path) -> None:
    environments = Environments(home, SystemClock())
    quitter = asyncio.create_task(environments.ensure(wish("ore"), Told()))
    other = asyncio.create_task(environments.ensure(wish("ore"), Told()))
    await asyncio.sleep(0)
    quitter.cancel()
    assert (await other).path.exists()


async def test_an_unknown_python_gets_the_nearest_with_a_note(home: Home, wheels: Path) -> None:
    made = await Environments(home, SystemClock()).ensure(wish(python="3.99"), Told())
    assert "Python 3.99 is not on this machine; the nearest, 3." in made.note


async def test_pip_is_satisfied_by_what_is_there(home: Home, wheels: Path) -> None:
    made = await Environments(home, SystemClock()).ensure(wish("ore<2"), Told())
    for words in (["ore"], ["ore==1.0"], ["--quiet", "ore<2"]):
        done = python(made.path, "-m", "pip", "install", *words)
        assert (done.returncode, done.stderr) == (0, ""), words
    missing = python(made.path, "-m", "pip", "install", "ingot")
    assert missing.returncode == 1
    assert "not in the environment" in missing.stderr
    assert freeze(made.path) == b"ore==1.0\n"


async def test_a_pod_installs_more_for_itself_only(tmp_path: Path, wheels: Path) -> None:
    make_wheel(wheels, "ingot", "3")
    script = (
        "python -c 'import ingot' 2>/dev/null && exit 9; "
        "python -m pip install -q --no-index --find-links /wheels ingot && "
        "python -c 'import ingot; print(ingot.version)'"
    )
    async with open_cluster(tmp_path / "home") as cluster:
        store_wheels(wheels, cluster.home.claim("default", "wheels"))
        await cluster.claim("wheels")
        parts = {
            "volumeMounts": [{"name": "w", "mountPath": "/wheels"}],
            "spec": {"volumes": [{"name": "w", "persistentVolumeClaim": {"claimName": "wheels"}}]},
        }
        for name in ("a", "b"):
            await cluster.run(name, "sh", "-c", script, image="python:3", **parts)
            pod = await cluster.finished(name)
            assert await cluster.log(pod) == "3\n"


async def test_a_build_failure_is_the_pods_waiting_reason(tmp_path: Path, wheels: Path) -> None:
    async with open_cluster(tmp_path / "home") as cluster:
        await cluster.run("a", image="bessemer/modelserver:sklearn-0.0.1")
        pod = await cluster.until("a", lambda pod: "ImagePullBackOff" in str(pod.get("status")))
        assert "scikit-learn==0.0.1" in str(pod["status"]["containerStatuses"])
