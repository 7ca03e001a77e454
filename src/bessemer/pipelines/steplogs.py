"""A step's log: from its pod while there is one, else from the copy kept when the pod went."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO, Protocol

from bessemer.kinds.kind import Object
from bessemer.kinds.pod import POD
from bessemer.kube.client import Client
from bessemer.kube.errors import NotFound as ObjectNotFound
from bessemer.pipelines import errors
from bessemer.pipelines.records import Run, Task

_PIECE = 1 << 16  # bytes

#: Reads a pod's log: the pod, whether to follow it, how many last lines (None: all).
ReadPod = Callable[[Object, bool, int | None], AsyncIterator[bytes]]


def _seek_tail(file: BinaryIO, lines: int) -> None:
    """Go to where a file's last lines begin."""
    end = file.seek(0, os.SEEK_END)
    at, left = max(end - 1, 0), lines  # the last line's own end begins no other
    while at and left:
        size = min(_PIECE, at)
        at = file.seek(at - size)
        piece = file.read(size)
        found = size
        while (found := piece.rfind(b"\n", 0, found)) >= 0:
            left -= 1
            if not left:
                file.seek(at + found + 1)
                return
    file.seek(0 if lines else end)


class StepLogs(Protocol):
    """Where the logs of steps are."""

    def read(
        self, run: Run, task: Task, *, follow: bool = False, tail_lines: int | None = None
    ) -> AsyncIterator[bytes]:
        """The log's bytes in pieces; with ``follow``, until the step ended.

        Raises:
            errors.NotFound: the step has no log (yet, or any more).
        """
        ...

    async def forget(self, run_id: str) -> None:
        """Delete what is kept of a run."""
        ...


class PodStepLogs:
    """Logs of pods through a Kubernetes API, and copies of the logs of gone pods.

    Args:
        folder: where the copies go, ``<run id>/<pod name>.log``: out of the reach of pods, which
            could otherwise lead a reader to other files by a link.
    """

    def __init__(self, client: Client, read_pod: ReadPod, folder: Path) -> None:
        self._client = client
        self._read_pod = read_pod
        self._folder = folder

    async def read(
        self, run: Run, task: Task, *, follow: bool = False, tail_lines: int | None = None
    ) -> AsyncIterator[bytes]:
        """See the port."""
        if pod := await self._find(run.namespace, task.pod_name):
            async for piece in self._read_pod(pod, follow, tail_lines):
                yield piece
            return
        file = self._file(run.id, task.pod_name)
        if not task.pod_name or not file.is_file():
            raise errors.NotFound(
                f"task {task.id} has no log: its pod is {task.pod_name or 'not started'}, and no "
                "copy of a log is kept"
            )
        with file.open("rb") as copy:  # in pieces: a log may be larger than memory
            if tail_lines is not None:
                await asyncio.to_thread(_seek_tail, copy, tail_lines)
            while piece := await asyncio.to_thread(copy.read, _PIECE):
                yield piece

    async def _find(self, namespace: str, pod_name: str) -> Object | None:
        if not pod_name:
            return None
        try:
            return await self._client.get(POD, pod_name, namespace)
        except ObjectNotFound:
            return None

    def _file(self, run_id: str, pod_name: str) -> Path:
        return self._folder / run_id / f"{pod_name}.log"

    async def keep(self, run: Run, task: Task) -> None:
        """Copy the log of a pod that is about to go; again is as good as once."""
        pod = await self._find(run.namespace, task.pod_name)
        if pod is None:
            return
        file = self._file(run.id, task.pod_name)
        await asyncio.to_thread(file.parent.mkdir, parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        with part.open("wb") as out:
            async for piece in self._read_pod(pod, False, None):  # noqa: FBT003 - a callable's
                await asyncio.to_thread(out.write, piece)
        part.replace(file)

    async def forget(self, run_id: str) -> None:
        """See the port."""
        await asyncio.to_thread(shutil.rmtree, self._folder / run_id, ignore_errors=True)
