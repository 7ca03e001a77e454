"""A step's log: from its pod while there is one, else from the copy kept when the pod went."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from bessemer.artifacts.store import LogArchive, Missing
from bessemer.kinds.pod import POD
from bessemer.kube.client import Client, LogOptions
from bessemer.kube.errors import NotFound as ObjectNotFound
from bessemer.pipelines.records import Run, Task
from bessemer.web import errors


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

    def __init__(self, client: Client, archive: LogArchive) -> None:
        self._client = client
        self._archive = archive

    async def read(
        self, run: Run, task: Task, *, follow: bool = False, tail_lines: int | None = None
    ) -> AsyncIterator[bytes]:
        """See the port."""
        if await self._has_pod(run.namespace, task.pod_name):
            options = LogOptions(follow=follow, tail_lines=tail_lines)
            async for piece in self._client.logs(task.pod_name, run.namespace, options):
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

    async def _has_pod(self, namespace: str, pod_name: str) -> bool:
        if not pod_name:
            return False
        try:
            await self._client.get(POD, pod_name, namespace)
        except ObjectNotFound:
            return False
        return True

    async def keep(self, run: Run, task: Task) -> None:
        """Copy the log of a pod that is about to go; again is as good as once."""
        if await self._has_pod(run.namespace, task.pod_name):
            pieces = self._client.logs(task.pod_name, run.namespace)
            await self._archive.keep(run.id, task.pod_name, pieces)

    async def forget(self, run_id: str) -> None:
        """See the port."""
        await self._archive.forget(run_id)
