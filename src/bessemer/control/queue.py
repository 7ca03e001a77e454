"""The work queue: each key once, never two workers on one key, back-off for those that fail.

Source: client-go util/workqueue.
"""

from __future__ import annotations

import asyncio
from collections import deque

from bessemer.base.clock import Clock
from bessemer.control.reconcile import Key

BACKOFF_FIRST_SECONDS = 0.005
BACKOFF_MOST_SECONDS = 60.0


def backoff_seconds(failures: int) -> float:
    """The wait after that many failures in a row (the first is 0)."""
    return float(min(BACKOFF_FIRST_SECONDS * 2 ** min(failures, 30), BACKOFF_MOST_SECONDS))


class Queue:
    """Keys to reconcile, in order of arrival.

    A key that is added while it is worked on comes again after ``done``, once.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ready: deque[Key] = deque()
        self._dirty: set[Key] = set()
        self._working: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._later: dict[Key, tuple[float, asyncio.Task[None]]] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        """How many keys are ready."""
        return len(self._ready)

    def add(self, key: Key) -> None:
        """Have the key worked on soon."""
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._working:
            self._push(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Have the key worked on after that time; of several waits the shortest holds."""
        due = self._clock.monotonic() + seconds
        waiting = self._later.get(key)
        if waiting is not None:
            if waiting[0] <= due:
                return
            waiting[1].cancel()
        task = asyncio.get_running_loop().create_task(self._wait(key, seconds))
        self._later[key] = (due, task)

    def add_failed(self, key: Key) -> float:
        """Have the key tried again, later each time; gives the wait in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        wait = backoff_seconds(failures)
        self.add_after(key, wait)
        return wait

    def forget(self, key: Key) -> None:
        """The key succeeded: its next failure counts as the first."""
        self._failures.pop(key, None)

    def cancel_wait(self, key: Key) -> None:
        """Take back ``add_after``."""
        waiting = self._later.pop(key, None)
        if waiting is not None:
            waiting[1].cancel()

    async def get(self) -> Key:
        """The next key; ``done`` has to follow."""
        while not self._ready:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake()  # it was our turn: let the next one have it
                raise
        key = self._ready.popleft()
        self._dirty.discard(key)
        self._working.add(key)
        return key

    def done(self, key: Key) -> None:
        """The worker let go of the key."""
        self._working.discard(key)
        if key in self._dirty:
            self._push(key)

    def close(self) -> None:
        """Drop the waits."""
        for _, task in self._later.values():
            task.cancel()
        self._later.clear()

    async def _wait(self, key: Key, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._later.pop(key, None)
        self.add(key)

    def _push(self, key: Key) -> None:
        self._ready.append(key)
        self._wake()

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
