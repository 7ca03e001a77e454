"""Both runtimes, each over a home of its own."""

from __future__ import annotations

import shutil
import signal
import uuid
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest

from bessemer.cluster.kubelet.runtime.base import ContainerState, Runtime
from bessemer.cluster.kubelet.runtime.cgroups import Cgroups, find_cgroups
from bessemer.cluster.kubelet.runtime.choose import choose
from bessemer.cluster.kubelet.runtime.process import ProcessRuntime
from bessemer.cluster.kubelet.runtime.sandbox import SandboxRuntime
from bessemer.cluster.kubelet.runtime.zygotes import Zygotes
from contract.runtime.bench import Bench


@pytest.fixture
def mark() -> str:
    return f"MARK={uuid.uuid4()}"


def _left(cgroups: Cgroups) -> list[Path]:
    return [path for path in cgroups.folders.values() if path.exists()]


def _end(home: Path, runtime: Runtime) -> list[Awaitable[None]]:
    return [
        runtime.signal(folder, signal.SIGKILL)
        for folder in (home / "pods").glob("*")
        if runtime.observe(folder).state is ContainerState.RUNNING
    ]


@pytest.fixture(params=["sandbox", "process"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    name = f"bessemer-test-{uuid.uuid4().hex[:8]}"
    cgroups = find_cgroups(name)

    def make() -> Runtime:
        kind = SandboxRuntime if request.param == "sandbox" else ProcessRuntime
        return kind(Zygotes(tmp_path / "run", 10.0), cgroups)

    if request.param == "sandbox":
        choice = await choose(tmp_path / "run", name)
        await choice.runtime.close()
        if choice.runtime.name != "sandbox":
            pytest.skip(choice.describe())
        cgroups = find_cgroups(name)
    made = Bench(make(), tmp_path, make)
    yield made
    for ending in _end(tmp_path, made.runtime):
        await ending
    for folder in (tmp_path / "pods").glob("*"):
        if made.runtime.observe(folder).state is not ContainerState.CREATED:
            await made.wait(folder)
    await made.runtime.close()
    shutil.rmtree(tmp_path / "pods", ignore_errors=True)
    assert _left(cgroups) == []
