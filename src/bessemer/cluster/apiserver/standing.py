"""Requests that stay: watches, followed logs, proxied streams. Each ends soon after its right to.

A request is judged when it comes, and a watch is one request for half an hour: whoever's token,
account or binding is taken away would read on. So all that stay are judged again each second.
Unlike upstream, which lets them run on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TypeVar

from bessemer.base.clock import Clock

#: How long a right that was taken away may go on being used.
LOOK_SECONDS = 1.0
T = TypeVar("T")


class Revoked(Exception):
    """Who asked may not ask any more; what was begun is to be ended."""


class Standing:
    """All requests that stay: watches, followed logs, proxied streams."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[asyncio.Task[object], Callable[[], bool]] = {}
        self._revoked: set[asyncio.Task[object]] = set()
        self._looking: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """How many requests stay now."""
        return len(self._held)

    async def serve(self, serving: Coroutine[object, object, T], may: Callable[[], bool]) -> T:
        """Await the request's service for as long as ``may`` says yes.

        Raises:
            Revoked: it said no; the service was cancelled.
        """
        task: asyncio.Task[T] = asyncio.ensure_future(serving)
        self._held[task] = may
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        try:
            return await task
        except asyncio.CancelledError:
            if task not in self._revoked:
                raise
            raise Revoked from None
        finally:
            # The caller's own cancellation came through ``await task`` to the task.
            self._held.pop(task, None)
            self._revoked.discard(task)

    async def _look(self) -> None:
        """Judge them again and again, while there are any."""
        while self._held:
            await self._clock.sleep(LOOK_SECONDS)
            for task, may in list(self._held.items()):
                if task not in self._revoked and not may():
                    self._revoked.add(task)
                    task.cancel()
        self._looking = None
