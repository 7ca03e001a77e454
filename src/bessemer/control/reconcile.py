"""The reconcile contract: a key in; done, done-for-now or an error out.

Level-based and idempotent: the reconciler gets a key, reads the world, and makes it a little
closer to the declaration. It is told nothing of what happened, so that a missed event, a restart
or a doubled call change nothing. Source: controller-runtime pkg/reconcile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from bessemer.base.errors import BessemerError


class Key(NamedTuple):
    """What to reconcile: an object's namespace ("" if cluster-scoped) and name, or any id."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """``namespace/name``, or the name alone."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True)
class Result:
    """When to look again even if nothing changes; None: only on a change."""

    requeue_after: float | None = None  # seconds
    is_gone: bool = False  # nothing is left of it: an earlier requeue_after counts no more


DONE = Result()
GONE = Result(is_gone=True)


class TerminalError(BessemerError):
    """Retrying can't help: logged, and the key waits for its next change."""


class Reconciler(Protocol):
    """Makes one key's world closer to its declaration."""

    async def reconcile(self, key: Key) -> Result:
        """Observe, plan, act, write status. Any exception but TerminalError means retry."""
        ...
