"""A run's outputs in the store of artifacts: where they go, and what a step left there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from bessemer.artifacts.store import ArtifactStore, Elsewhere, Foreign, TooLarge, Unreadable
from bessemer.base.errors import BessemerError
from bessemer.pipelines import executor_io
from bessemer.pipelines.executor_io import InvalidOutput, Written
from bessemer.pipelines.records import Artifact, Run, Task
from bessemer.pipelines.spec.model import Component, Spec

MOST_BYTES = 64 << 20  # of one file that the engine reads into memory

_MANY = 64  # artifacts that are looked for in one turn

#: Artifacts whose whole content is their metadata: the SDK writes no file for them.
IN_METADATA = frozenset(
    {"system.Metrics", "system.ClassificationMetrics", "system.SlicedClassificationMetrics"}
)


class InvalidRoot(BessemerError):
    """The pipeline root is no place where this cluster keeps artifacts."""


def run_root(run: Run, spec: Spec, store: ArtifactStore) -> str:
    """The URI of the folder of a run's outputs.

    Raises:
        InvalidRoot: the pipeline root is elsewhere.
    """
    wanted = run.pipeline_root or spec.default_root
    try:
        base = store.place(run.namespace, wanted) if wanted else store.root(run.namespace)
    except Elsewhere as error:
        raise InvalidRoot(
            f"the pipeline root must be where the namespace's artifacts are, but {error}; or "
            "leave it out to use the default"
        ) from None
    return f"{base}/{spec.name}/{run.id}"


async def read(task: Task, component: Component, namespace: str, store: ArtifactStore) -> Written:
    """What a step left.

    Raises:
        InvalidOutput: a file is no plain one of the step's own, too large, or not UTF-8.
    """
    output = executor_io.OUTPUT_FILE
    files = {name: f"{executor_io.PARAMETERS}{name}" for name in component.output_parameters}
    names = [output, *files.values()]
    try:
        found = await store.read_files(namespace, task.task_root, names, MOST_BYTES)
    except TooLarge as error:
        raise InvalidOutput(f"{error}; write large outputs as artifacts") from None
    except Unreadable as error:
        raise InvalidOutput(str(error)) from None
    return Written(
        _decode(output, found), {name: _decode(file, found) for name, file in files.items()}
    )


def _decode(name: str, files: Mapping[str, bytes | None]) -> str | None:
    content = files[name]
    if content is None:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise InvalidOutput(f"{name} must be text in UTF-8") from None


async def exist(artifacts: Iterable[Artifact], namespace: str, store: ArtifactStore) -> bool:
    """Whether all those artifacts that the store should have are still there.

    One outside of the namespace's place counts as gone, and so does one that a link leads to:
    nobody is to learn which files there are. Of another sort of store nothing is known.
    """
    for number, one in enumerate(artifacts, 1):
        if number % _MANY == 0:
            await asyncio.sleep(0)  # a store may answer at once; others want their turn
        if one.type in IN_METADATA:
            continue
        try:
            if await store.find(namespace, one.uri) is None:
                return False
        except Foreign:
            continue
        except Elsewhere:
            return False
    return True
