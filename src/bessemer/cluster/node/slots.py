"""What the agent knows of one container of a pod, beside the tasks that act on it."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass
from datetime import timedelta

from bessemer.base.clock import later
from bessemer.cluster.node import plan
from bessemer.cluster.node.plan import Container


@dataclass
class Slot:
    """One container's."""

    container: Container = plan.NOTHING
    starting: asyncio.Task[None] | None = None
    watching: asyncio.Task[None] | None = None
    failures: int = 0  # in a row, to start it
    is_committed: bool = False  # the runtime was asked; what it starts must be waited for

    def abandon(self) -> None:
        """Give up starting it, where that can still be given up."""
        if self.starting and not self.is_committed:
            self.starting.cancel()

    def change(self, **parts: object) -> None:
        """Know something else of it."""
        self.container = dataclasses.replace(self.container, **parts)  # type: ignore[arg-type]  # names checked by tests

    def shift(self, step: timedelta) -> None:
        """The wall clock was set by that much: so are the moments that are waited for."""
        trouble, stop_at = self.container.trouble, self.container.stop_at
        if trouble:
            self.change(trouble=dataclasses.replace(trouble, retry_at=trouble.retry_at + step))
        if stop_at:
            self.change(stop_at=later(stop_at, step.total_seconds()))
