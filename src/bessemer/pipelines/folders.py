"""A run's folders on the machine: laid out before a step, read after it. Blocking.

A step may write anything into its own folder, links too; nothing outside it is read or written.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from bessemer.base.errors import BessemerError
from bessemer.pipelines import executor
from bessemer.pipelines.executor import InvalidOutput, Written
from bessemer.pipelines.records import Artifact, Run, Task
from bessemer.pipelines.spec.model import Component, Spec

MOST_BYTES = 64 << 20  # of one file that the engine reads into memory
SMALL_BYTES = 64 << 10  # of all files of a step that are read on the event loop

#: Artifacts whose whole content is their metadata: the SDK writes no file for them.
_IN_METADATA = frozenset(
    {"system.Metrics", "system.ClassificationMetrics", "system.SlicedClassificationMetrics"}
)


class InvalidRoot(BessemerError):
    """The pipeline root is no place where this cluster keeps artifacts."""


def run_root(run: Run, spec: Spec, claim: Path) -> Path:
    """The folder of a run's outputs.

    ``minio://bucket/path``, upstream's built-in store, is the folder of that name in the claim.

    Raises:
        InvalidRoot: the pipeline root is elsewhere.
    """
    wanted = run.pipeline_root or spec.default_root
    if not wanted:
        base = claim
    elif wanted.startswith("minio://"):
        base = claim / wanted.removeprefix("minio://").strip("/")
    elif wanted.startswith("/"):
        base = Path(wanted)
    else:
        raise InvalidRoot(
            f"the pipeline root must be minio://... or a folder in {claim}, but got {wanted!r}; "
            "leave it out to use the default"
        )
    if ".." in base.parts or not base.is_relative_to(claim):
        raise InvalidRoot(f"the pipeline root must be a folder in {claim}, but got {wanted!r}")
    return base / spec.name / run.id


def lay_out(tasks: Iterable[Task]) -> None:
    """Make the folders that steps write into."""
    for task in tasks:
        Path(task.task_root).mkdir(parents=True, exist_ok=True)


def are_small(task: Task, component: Component) -> bool:
    """Whether reading what a step left takes no longer than handing it to a thread would."""
    names = [executor.output_file(task)]
    names += [executor.parameter_file(task, name) for name in component.output_parameters]
    total = 0
    for name in names:
        with contextlib.suppress(OSError):
            total += os.lstat(name).st_size
    return total <= SMALL_BYTES


def read(task: Task, component: Component) -> Written:
    """What a step left.

    Raises:
        InvalidOutput: a file is no plain one of the step's own, or too large.
    """
    root = Path(task.task_root)
    output = _read(root, Path(executor.output_file(task)))
    parameters = {
        name: _read(root, Path(executor.parameter_file(task, name)))
        for name in component.output_parameters
    }
    return Written(output, parameters)


def _read(root: Path, file: Path) -> str | None:
    try:
        status = file.lstat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode) or file.resolve() != root.resolve() / file.relative_to(
        root
    ):
        raise InvalidOutput(f"{file} must be a plain file, but is a link or something else")
    if status.st_size > MOST_BYTES:
        raise InvalidOutput(
            f"{file} must not be larger than {MOST_BYTES} bytes, but has {status.st_size}; "
            "write large outputs as artifacts"
        )
    try:
        return file.read_text()
    except UnicodeDecodeError:
        raise InvalidOutput(f"{file} must be text in UTF-8") from None


def exist(artifacts: Iterable[Artifact]) -> bool:
    """Whether all those artifacts that are files of this machine are still there."""
    return all(
        Path(one.uri).exists()
        for one in artifacts
        if one.uri.startswith("/") and one.type not in _IN_METADATA
    )
