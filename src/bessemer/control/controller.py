"""A controller: sources fill a queue, workers take keys to the reconciler, one place retries.

Source: controller-runtime pkg/internal/controller.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bessemer.base import logs
from bessemer.base.clock import Clock
from bessemer.base.logs import fields
from bessemer.control.queue import Queue
from bessemer.control.reconcile import Key, Reconciler, TerminalError
from bessemer.control.resync import RESYNC_SECONDS, spread
from bessemer.control.sources import Source
from bessemer.kinds.kind import Object
from bessemer.kube.client import EventType
from bessemer.kube.errors import ApiError, Conflict, NotFound, is_terminating

_log = logs.get(__name__)
# No cache is that far behind a deletion: who finds nothing for longer has a bug.
_LATE_SECONDS = 1.0


class Controller:
    """Runs one reconciler.

    Args:
        name: for logs ("job").
        sources: their informers must be run by whoever made them.
        workers: how many keys at once; never two of the same.
        resync: seconds within which all keys of the sources' objects are looked at once more,
            so that a change that nobody told is only noticed late.
    """

    def __init__(
        self,
        name: str,
        reconciler: Reconciler,
        sources: Sequence[Source],
        clock: Clock,
        workers: int = 1,
        resync: float = RESYNC_SECONDS,
    ) -> None:
        self.name = name
        self._reconciler = reconciler
        self._sources = tuple(sources)
        self._queue = Queue(clock)
        self._clock = clock
        self._workers = workers
        self._resync = resync

    def enqueue(self, key: Key) -> None:
        """Have the key reconciled soon."""
        self._queue.add(key)

    async def run(self) -> None:
        """Work, for ever, as soon as all sources know their state."""
        for source in self._sources:
            self._subscribe(source)
        for source in self._sources:
            await source.informer.wait_synced()
        try:
            async with asyncio.TaskGroup() as tasks:
                for number in range(self._workers):
                    tasks.create_task(self._work(), name=f"{self.name} {number}")
                if self._sources:
                    tasks.create_task(self._look_again(), name=f"{self.name} resync")
        finally:
            self._queue.close()

    def _subscribe(self, source: Source) -> None:
        def changed(_type: EventType, obj: Object) -> None:
            for key in source.keys(obj):
                self._queue.add(key)

        source.informer.subscribe(changed)

    async def _look_again(self) -> None:
        """Have each key looked at once a period, whether something was told of it or not."""
        await self._clock.sleep(self._resync)
        while True:
            begun = self._clock.monotonic()
            keys = (key for source in self._sources for key in source.all_keys())
            for moment, due in spread(keys, self._resync):
                await self._clock.sleep(begun + moment - self._clock.monotonic())
                for key in due:
                    self._queue.add(key)
            await self._clock.sleep(begun + self._resync - self._clock.monotonic())

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            try:
                await self._reconcile(key)
            finally:
                self._queue.done(key)

    async def _reconcile(self, key: Key) -> None:
        try:
            result = await self._reconciler.reconcile(key)
        except TerminalError as error:
            self._queue.forget(key)
            _log.warning(
                "reconcile gave up",
                extra=fields(controller=self.name, key=key, reason=str(error)),
            )
        except Exception as error:  # noqa: BLE001 - one key's bug must not stop the other keys
            _go_if_cancelled(error)
            wait = self._queue.add_failed(key)
            told: dict[str, object] = {"controller": self.name, "key": key, "wait_s": wait}
            if _is_behind(error, wait):
                _log.debug("reconcile repeated", extra=fields(**told, reason=str(error)))
            else:
                _log.exception("reconcile failed", extra=fields(**told))
        else:
            self._queue.forget(key)
            if result.is_gone:
                self._queue.cancel_wait(key)
            elif result.requeue_after is not None:
                self._queue.add_after(key, result.requeue_after)


def _go_if_cancelled(error: Exception) -> None:
    """End a worker that was cancelled, though the reconciler made another error of that.

    What fails while a reconcile is cancelled (a write beside it, a group of tasks) takes the
    cancellation's place; a worker that went on then would never end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError from error


def _is_behind(error: Exception, wait: float) -> bool:
    """Whether the world only went on since the cache was read: no traceback for that.

    Somebody else wrote in between (the usual way of guarded writes), or what is read from is
    gone, or its namespace is on its way out.
    """
    if isinstance(error, NotFound):
        return wait < _LATE_SECONDS
    return isinstance(error, Conflict) or (isinstance(error, ApiError) and is_terminating(error))
