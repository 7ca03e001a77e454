"""The pipeline engine as one thing to run: wires informer, index, reconciler and controller."""

from __future__ import annotations

import asyncio

from bessemer.base import logs
from bessemer.base.clock import Clock
from bessemer.base.logs import fields
from bessemer.control.controller import Controller
from bessemer.control.reconcile import Key
from bessemer.control.sources import Source
from bessemer.database.errors import DatabaseError
from bessemer.kinds.pod import POD
from bessemer.kube.client import Client, Selection
from bessemer.kube.informer import Informers
from bessemer.pipelines.podindex import PodIndex, run_key
from bessemer.pipelines.pods import RUN_LABEL
from bessemer.pipelines.reconciler import EngineOptions, RunReconciler
from bessemer.pipelines.records import History
from bessemer.pipelines.sweeping import Logs, Sweeper

_log = logs.get(__name__)

WORKERS = 4  # runs at a time; one run is always driven by one


class Engine:
    """Drives all runs.

    Args:
        client: acts for the engine in every namespace.
        informers: must be run by whoever made them.
        history: where runs come from and go to.
        log_store: reads and keeps the logs of steps.
        clock: the time.
        settings: what the engine needs to know of its home.
    """

    def __init__(
        self,
        client: Client,
        informers: Informers,
        history: History,
        log_store: Logs,
        clock: Clock,
        settings: EngineOptions,
    ) -> None:
        informer = informers.of(POD, Selection(labels=RUN_LABEL))
        index = PodIndex(informer)
        sweeper = Sweeper(client, history, index, log_store, clock)
        self._clock = clock
        self._reconciler = RunReconciler(client, history, index, sweeper, clock, settings)
        self._ownership = self._reconciler.ownership
        self._informer = informer
        self._controller = Controller(
            "pipelines", self._reconciler, (Source(informer, run_key),), clock, WORKERS
        )

    def wake(self, run_id: str) -> None:
        """A run was created, terminated, retried or deleted: look at it again, at once.

        A hint: what nobody tells is found by the next look.
        """
        self._reconciler.forget(run_id)
        self._controller.enqueue(Key("", run_id))

    async def run(self) -> None:
        """Drive every unfinished run that is this replica's, or nobody's, for ever.

        Runs that were made, ended or left elsewhere are found by looking for them now and then.
        """
        # Pods first: a run whose pods are not known yet would create them again.
        await self._informer.wait_synced()
        try:
            await self._look()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep_looking(), name="pipelines leases")
                tasks.create_task(self._controller.run(), name="pipelines runs")
        finally:
            await self._ownership.release()

    async def _keep_looking(self) -> None:
        while True:
            await self._clock.sleep(self._ownership.replica.look_seconds)
            await self._look()

    async def _look(self) -> None:
        driven = self._reconciler.driven()
        try:
            found = await self._ownership.look(driven)
        except DatabaseError as error:  # the next look may do better
            _log.warning("looking for runs failed", extra=fields(reason=str(error)))
            return
        for run_id in found:
            if run_id in driven:
                self._reconciler.forget(run_id)
            self._controller.enqueue(Key("", run_id))
