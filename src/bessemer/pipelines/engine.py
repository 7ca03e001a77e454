"""The pipeline engine as one thing to run: wires informer, index, reconciler and controller."""

from __future__ import annotations

from bessemer.base.clock import Clock
from bessemer.control.controller import Controller
from bessemer.control.reconcile import Key
from bessemer.control.sources import Source
from bessemer.kinds.pod import POD
from bessemer.kube.client import Client, Selection
from bessemer.kube.informer import Informers
from bessemer.pipelines.podindex import PodIndex, run_key
from bessemer.pipelines.pods import RUN_LABEL
from bessemer.pipelines.reconciler import EngineOptions, RunReconciler
from bessemer.pipelines.records import History
from bessemer.pipelines.sweeping import Logs, Sweeper

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
        self._history = history
        self._reconciler = RunReconciler(client, history, index, sweeper, clock, settings)
        self._informer = informer
        self._controller = Controller(
            "pipelines", self._reconciler, (Source(informer, run_key),), clock, WORKERS
        )

    def wake(self, run_id: str) -> None:
        """A run was created, terminated, retried or deleted: look at it again."""
        self._reconciler.forget(run_id)
        self._controller.enqueue(Key("", run_id))

    async def run(self) -> None:
        """Go on with every unfinished run, then follow what happens, for ever."""
        # Pods first: a run whose pods are not known yet would create them again.
        await self._informer.wait_synced()
        for run_id in await self._history.list_unfinished():
            self._controller.enqueue(Key("", run_id))
        await self._controller.run()
