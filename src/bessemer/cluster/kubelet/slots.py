"""What the agent knows of one container of a pod, beside the tasks that act on it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from bessemer.base.clock import later
from bessemer.cluster.kubelet import plan
from bessemer.cluster.kubelet.plan import Container


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


class Verdicts:
    """What probes tell of one container.

    Args:
        slot: the container's.
        wake: has the pod's worker look again.
        tell: writes an Event of the pod: its type, reason and message.
    """

    def __init__(
        self, slot: Slot, wake: Callable[[], None], tell: Callable[[str, str, str], None]
    ) -> None:
        self._slot = slot
        self._wake = wake
        self._tell = tell

    def started(self) -> None:
        """The startup probe passed."""
        self._slot.change(is_started=True)
        self._wake()

    def ready(self, *, is_ready: bool) -> None:
        """The readiness probe changed its mind."""
        if self._slot.container.is_ready != is_ready:
            self._slot.change(is_ready=is_ready)
            self._wake()

    def failed(self, kind: str, message: str) -> None:
        """A probe failed once."""
        self._tell("Warning", "Unhealthy", f"{kind} probe failed: {message}")

    def unhealthy(self, message: str) -> None:
        """The startup or liveness probe wants the container's end."""
        self._slot.change(unhealthy=message)
        self._wake()
