"""A clock that moves only when the test says so; a client over a store of its own."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bessemer.cluster.apiserver.machine import Machine
from bessemer.cluster.store.store import Store
from bessemer.kube.client import Client
from bessemer.kube.inprocess import InProcessClient

_START = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


class SteppedClock:
    """Time stands still until ``advance``."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self._waiting: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return _START + timedelta(seconds=self.elapsed)

    def monotonic(self) -> float:
        return self.elapsed

    @property
    def waits(self) -> list[float]:
        """How long those who sleep still have to."""
        return sorted(
            round(due - self.elapsed, 9) for due, done in self._waiting if not done.done()
        )

    async def sleep(self, seconds: float) -> None:
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((self.elapsed + seconds, done))
        await done

    async def advance(self, seconds: float) -> None:
        """Let that much time pass, and everybody who wakes do their work."""
        await settle()
        self.elapsed += seconds
        for due, done in self._waiting:
            if due <= self.elapsed + 1e-9 and not done.done():
                done.set_result(None)
        await settle()


async def settle() -> None:
    """Let every task that can go on go on."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
async def client(tmp_path: Path, clock: SteppedClock) -> AsyncIterator[Client]:
    store = Store(tmp_path / "objects.db")
    yield InProcessClient(Machine(store, clock))
    await store.close()
