"""A run's folders on the machine: laid out before a step, read after it. Blocking.

A step may write anything into its own folder, links too; nothing outside it is read or written.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from bessemer.base.errors import BessemerError
from bessemer.pipelines import executor_io
from bessemer.pipelines.executor_io import InvalidOutput, Written
from bessemer.pipelines.records import Artifact, Run, Task
from bessemer.pipelines.spec.model import Component, Spec

MOST_BYTES = 64 << 20  # of one file that the engine reads into memory
SMALL_BYTES = 64 << 10  # of all files of a step that are read on the event loop

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# What is wrong with a path itself, so that trying again is no use.
_LED_ASTRAY = (errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG)
_UNREADABLE = (*_LED_ASTRAY, errno.ENOENT, errno.EACCES, errno.ENXIO)

#: Artifacts whose whole content is their metadata: the SDK writes no file for them.
_IN_METADATA = frozenset(
    {"system.Metrics", "system.ClassificationMetrics", "system.SlicedClassificationMetrics"}
)


class InvalidRoot(BessemerError):
    """The pipeline root is no place where this cluster keeps artifacts."""


class NotBound(BessemerError):
    """The claim that keeps a namespace's artifacts has no folder yet."""


def is_bound(claim: Path) -> bool:
    """Whether the claim's folder is there; it is before the claim is said to be bound."""
    return claim.is_dir()


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


def lay_out(tasks: Iterable[Task], claim: str) -> dict[str, str]:
    """Make the folders that steps write into; the pods that can't have one, and why."""
    refused = {}
    for task in tasks:
        try:
            with _open_folder(task.task_root, claim, make=True):
                pass
        except OSError as error:
            if error.errno not in _LED_ASTRAY:
                raise
            refused[task.pod_name] = (
                f"{task.task_root} must be a folder that no link leads out of the claim, but "
                f"{error.strerror}"
            )
    return refused


@contextlib.contextmanager
def _open_folder(path: str, claim: str, *, make: bool = False) -> Iterator[int]:
    """The descriptor of a folder below the claim's; a link on the way is an error.

    Every pod of the namespace may have mounted the claim, and change it at any moment.
    """
    here = os.open(claim, _FOLDER & ~os.O_NOFOLLOW)
    try:
        for name in Path(path).relative_to(claim).parts:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=here)
            below = os.open(name, _FOLDER, dir_fd=here)
            os.close(here)
            here = below
        yield here
    finally:
        os.close(here)


def are_small(task: Task, component: Component) -> bool:
    """Whether reading what a step left takes no longer than handing it to a thread would."""
    names = [executor_io.output_file(task)]
    names += [executor_io.parameter_file(task, name) for name in component.output_parameters]
    total = 0
    for name in names:
        with contextlib.suppress(OSError):
            total += os.lstat(name).st_size
    return total <= SMALL_BYTES


def read(task: Task, component: Component, claim: str) -> Written:
    """What a step left.

    Raises:
        InvalidOutput: a file is no plain one of the step's own, too large, or not UTF-8.
    """
    try:
        with _open_folder(task.task_root, claim) as folder:
            output = _read(folder, executor_io.OUTPUT_FILE)
            parameters = {
                name: _read(folder, f"{executor_io.PARAMETERS}{name}")
                for name in component.output_parameters
            }
    except OSError as error:
        if error.errno not in _UNREADABLE:
            raise
        raise InvalidOutput(f"{task.task_root} can't be read: {error.strerror}") from None
    return Written(output, parameters)


def _read(folder: int, name: str) -> str | None:
    try:
        file = os.open(name, _FILE, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise InvalidOutput(f"{name} must be a plain file, but is a link") from None
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidOutput(f"{name} must be a plain file, but is something else")
        if status.st_size > MOST_BYTES:
            raise InvalidOutput(
                f"{name} must not be larger than {MOST_BYTES} bytes, but has {status.st_size}; "
                "write large outputs as artifacts"
            )
        with open(file, "rb", closefd=False) as opened:
            content = opened.read(MOST_BYTES)
    finally:
        os.close(file)
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise InvalidOutput(f"{name} must be text in UTF-8") from None


def exist(artifacts: Iterable[Artifact], claim: str) -> bool:
    """Whether all those artifacts that are files are still there.

    One outside of the claim counts as gone, and so does one that a link leads to: nobody is to
    learn which files the machine has.
    """
    return all(
        holds(one.uri, claim)
        for one in artifacts
        if one.uri.startswith("/") and one.type not in _IN_METADATA
    )


def holds(path: str, claim: str) -> bool:
    """Whether the claim has a file or folder at that path, to which no link leads."""
    place = Path(path)
    if "\0" in path or ".." in place.parts or not place.is_relative_to(claim):
        return False
    if place == Path(claim):
        return True
    try:
        with _open_folder(str(place.parent), claim) as folder:
            os.lstat(place.name, dir_fd=folder)
    except OSError:
        return False
    return True
