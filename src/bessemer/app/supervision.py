"""Long-running parts: the death of one is told and ends all, never a half-dead control plane."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from bessemer.base import logs
from bessemer.base.errors import BessemerError

_log = logs.get(__name__)


class PartDied(BessemerError):
    """A part that has to run for ever ended."""


class TaskSupervisor:
    """Tasks by name, and the first one that ended without being asked."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self.dead: asyncio.Future[PartDied] = asyncio.get_running_loop().create_future()

    def start(self, name: str, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run it until ``stop``."""
        task = asyncio.create_task(coroutine, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._stopping or task.cancelled():
            return
        error = task.exception()
        _log.error("part died", exc_info=error, extra=logs.fields(part=task.get_name()))
        if not self.dead.done():
            why = _reason(error) if error else "it returned"
            self.dead.set_result(
                PartDied(
                    f"{task.get_name()} must run for ever, but died: {why}; running pods go on "
                    "and are adopted by the next `bessemer up`"
                )
            )

    def stopping(self) -> None:
        """From now on an end is no death."""
        self._stopping = True

    async def stop(self) -> None:
        """Cancel all, newest first, and wait for each."""
        self.stopping()
        for task in reversed(self._tasks):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _reason(error: BaseException) -> str:
    """The first real error of nested groups, on one line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}".splitlines()[0]
