"""What happens to the pods of ended runs: logs are kept, pods go after a while."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from bessemer.base.clock import Clock, parse_time, remaining
from bessemer.base.errors import BessemerError
from bessemer.control.reconcile import DONE, GONE, Result
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.pod import POD
from bessemer.kube.client import Client
from bessemer.kube.errors import BadRequest, NotFound
from bessemer.pipelines import pods
from bessemer.pipelines.podindex import PodIndex
from bessemer.pipelines.records import History, Run, Task

_TAIL_BYTES = 4000
RETENTION_SECONDS = 3600.0  # how long an ended run's pods stay


class Logs(Protocol):
    """What the engine needs of ``steplogs.PodStepLogs``."""

    def read(
        self, run: Run, task: Task, *, follow: bool = False, tail_lines: int | None = None
    ) -> AsyncIterator[bytes]:
        """The log's bytes in pieces."""
        ...

    async def keep(self, run: Run, task: Task) -> None:
        """Copy the log of a pod that is about to go."""
        ...

    async def forget(self, run_id: str) -> None:
        """Delete what is kept of a run."""
        ...


class Sweeper:
    """Ends what is left of runs that are over or gone."""

    def __init__(
        self,
        client: Client,
        history: History,
        index: PodIndex,
        log_store: Logs,
        clock: Clock,
        *,
        retention: float = RETENTION_SECONDS,
    ) -> None:
        self._client = client
        self._history = history
        self._index = index
        self._logs = log_store
        self._clock = clock
        self.retention = retention  # seconds

    async def tail(self, run: Run, task: Task, lines: int) -> str:
        """The last lines of a step's log; empty if it can't be read."""
        end = b""
        try:
            async for piece in self._logs.read(run, task, tail_lines=lines):
                end = (end + piece)[-_TAIL_BYTES:]  # a line may be as long as a disk is large
        except (BessemerError, OSError):
            return ""
        return end.decode(errors="replace").strip()

    async def sweep(self, run_id: str) -> Result:
        """Delete the pods of a run that is gone; of one that is over, those old enough."""
        self._index.forget_changes(run_id)
        # The engine's own: anybody may put a run's label on a pod.
        left = [pod for pod in self._index.of(run_id) if pods.TASK_LABEL in meta.labels(pod)]
        if not left:
            return GONE
        loaded = await self._history.load_run(run_id)
        if loaded is None:
            for pod in left:
                await self._delete(pod)
            await self._logs.forget(run_id)
            return GONE
        run, tasks, _ = loaded
        by_id = {task.id: task for task in tasks}
        waits = []
        for pod in left:
            wait = self._wait(run, pod)
            if wait > 0:
                waits.append(wait)
                continue
            task = by_id.get(meta.labels(pod).get(pods.TASK_LABEL, ""))
            if task is not None:
                await self._keep_log(run, replace(task, pod_name=meta.name(pod)))
            await self._delete(pod)
        return Result(requeue_after=min(waits)) if waits else DONE

    async def _keep_log(self, run: Run, task: Task) -> None:
        # A pod that never started has no log, which is told as BadRequest.
        with contextlib.suppress(BadRequest, NotFound):
            await self._logs.keep(run, task)

    def _wait(self, run: Run, pod: Object) -> float:
        """The seconds for which a pod stays; a pod that still runs must go now."""
        if not pods.is_over(pod):
            return 0.0
        since = run.finished_at or self._created(pod)
        return remaining(since, self.retention, self._clock.now())

    def _created(self, pod: Object) -> datetime:
        text = pod["metadata"].get("creationTimestamp")
        return parse_time(text) if text else self._clock.now()

    async def _delete(self, pod: Object) -> None:
        with contextlib.suppress(NotFound):
            await self._client.delete(POD, meta.name(pod), meta.namespace(pod))
