"""A step's log: from its pod while there is one, else from the copy kept when the pod went."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol

from bessemer.artifacts.store import LogArchive, Missing
from bessemer.kinds.kind import Object
from bessemer.kinds.pod import POD
from bessemer.kube.client import Client
from bessemer.kube.errors import NotFound as ObjectNotFound
from bessemer.pipelines.records import Run, Task
from bessemer.web import errors

#: Reads a pod's log: the pod, whether to follow it, how many last lines (None: all).
ReadPod = Callable[[Object, bool, int | None], AsyncIterator[bytes]]


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
    """Logs of pods through a Kubernetes API, and copies of the logs of gone pods."""

    def __init__(self, client: Client, read_pod: ReadPod, archive: LogArchive) -> None:
        self._client = client
        self._read_pod = read_pod
        self._archive = archive

    async def read(
        self, run: Run, task: Task, *, follow: bool = False, tail_lines: int | None = None
    ) -> AsyncIterator[bytes]:
        """See the port."""
        if pod := await self._find(run.namespace, task.pod_name):
            async for piece in self._read_pod(pod, follow, tail_lines):
                yield piece
            return
        missing = errors.NotFound(
            f"task {task.id} has no log: its pod is {task.pod_name or 'not started'}, and no "
            "copy of a log is kept"
        )
        if not task.pod_name:
            raise missing
        try:
            async for piece in self._archive.read(run.id, task.pod_name, tail_lines=tail_lines):
                yield piece
        except Missing:
            raise missing from None

    async def _find(self, namespace: str, pod_name: str) -> Object | None:
        if not pod_name:
            return None
        try:
            return await self._client.get(POD, pod_name, namespace)
        except ObjectNotFound:
            return None

    async def keep(self, run: Run, task: Task) -> None:
        """Copy the log of a pod that is about to go; again is as good as once."""
        pod = await self._find(run.namespace, task.pod_name)
        if pod is not None:
            pieces = self._read_pod(pod, False, None)  # noqa: FBT003 - a callable's
            await self._archive.keep(run.id, task.pod_name, pieces)

    async def forget(self, run_id: str) -> None:
        """See the port."""
        await self._archive.forget(run_id)
