"""Where a run's outputs go, and what of a step's is read."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest

from bessemer.artifacts.claim import CLAIM, ClaimStore
from bessemer.base.clock import SystemClock
from bessemer.pipelines import executor_io, outputs, spec
from bessemer.pipelines.executor_io import InvalidOutput, Written
from bessemer.pipelines.outputs import InvalidRoot
from bessemer.pipelines.records import Artifact, Task
from bessemer.pipelines.spec.model import Component
from pipelines_ir import pipeline, step, task
from pipelines_world import World

NAMESPACE = "team"
HOME = f"/volumes/kubeflow/{CLAIM}"
PIPELINE = pipeline(
    {"make": task("make")},
    {"make": step({}, {"n": "NUMBER_INTEGER"}, output_artifacts={"model": "system.Model"})},
)


def make_store(volumes: Path) -> ClaimStore:
    """A store that is never prepared, so that no API is asked."""
    return ClaimStore(None, SystemClock(), volumes)  # type: ignore[arg-type]


async def lay_out(volumes: Path) -> tuple[ClaimStore, Task, Component]:
    """A step with its folder."""
    store = make_store(volumes)
    root = store.root(NAMESPACE)
    await asyncio.to_thread(Path(root).mkdir, parents=True)
    world = World(spec.load(PIPELINE)).start()
    action = world.pods[world.created[0]].action
    made = replace(action.task, task_root=f"{root}/make")
    assert await store.lay_out(NAMESPACE, [made.task_root]) == {}
    return store, made, action.component


async def put(file: Path, content: bytes = b"") -> None:
    await asyncio.to_thread(file.write_bytes, content)


async def test_what_a_step_wrote_is_read_from_its_folder(tmp_path: Path) -> None:
    store, made, component = await lay_out(tmp_path)
    assert await outputs.read(made, component, NAMESPACE, store) == Written(None, {"n": None})
    await put(Path(executor_io.parameter_file(made, "n")), b"5")
    await put(Path(executor_io.output_file(made)), b"{}")

    assert await outputs.read(made, component, NAMESPACE, store) == Written("{}", {"n": "5"})


async def test_what_is_no_small_text_of_the_steps_own_is_refused(tmp_path: Path) -> None:
    store, made, component = await lay_out(tmp_path)
    file = Path(executor_io.parameter_file(made, "n"))

    await asyncio.to_thread(file.symlink_to, "executor_output.json")
    with pytest.raises(InvalidOutput, match="must be a plain file"):
        await outputs.read(made, component, NAMESPACE, store)
    await asyncio.to_thread(file.unlink)
    await put(file, b"\xff")
    with pytest.raises(InvalidOutput, match=r"\.parameter-n must be text in UTF-8"):
        await outputs.read(made, component, NAMESPACE, store)
    await asyncio.to_thread(os.truncate, file, outputs.MOST_BYTES + 1)
    with pytest.raises(InvalidOutput, match="write large outputs as artifacts"):
        await outputs.read(made, component, NAMESPACE, store)


async def test_artifacts_are_there_or_not_as_far_as_the_store_can_know(tmp_path: Path) -> None:
    store, made, _ = await lay_out(tmp_path)
    await put(Path(made.task_root, "model"))
    await put(tmp_path / "secret")

    async def exist(uri: str, type_: str = "system.Model") -> bool:
        artifact = Artifact("a", "a", type_, "1", uri)
        return await outputs.exist([artifact], NAMESPACE, store)

    assert await exist(f"{made.task_root}/model")
    assert await exist(made.task_root)
    assert await exist("s3://bucket/model")
    assert not await exist(f"{made.task_root}/none")
    assert await exist(f"{made.task_root}/none", "system.Metrics")
    # What lies elsewhere is never told.
    assert not await exist(str(tmp_path / "secret"))
    assert not await exist(str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ("", f"{HOME}/p/run-1"),
        ("minio://mlpipeline/v2/artifacts", f"{HOME}/mlpipeline/v2/artifacts/p/run-1"),
        (f"{HOME}/mine", f"{HOME}/mine/p/run-1"),
    ],
)
def test_the_pipeline_root_is_in_the_store(root: str, expected: str) -> None:
    world = World(spec.load(PIPELINE))
    run = replace(world.run, namespace="kubeflow", pipeline_root=root)

    assert outputs.run_root(run, world.spec, make_store(Path("/volumes"))) == expected


@pytest.mark.parametrize("root", ["gs://bucket", "/etc", f"{HOME}/../other", "minio://../.."])
def test_a_pipeline_root_elsewhere_is_refused(root: str) -> None:
    world = World(spec.load(PIPELINE))
    run = replace(world.run, namespace="kubeflow", pipeline_root=root)

    with pytest.raises(InvalidRoot, match="pipeline root"):
        outputs.run_root(run, world.spec, make_store(Path("/volumes")))
