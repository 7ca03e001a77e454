"""A client over a store of its own, and a clock whose waits end at once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bessemer.base.clock import SystemClock
from bessemer.cluster.apiserver.machine import Machine
from bessemer.cluster.store.store import Store
from bessemer.kube.client import Client
from bessemer.kube.inprocess import InProcessClient


class EagerClock:
    """Nothing takes time; the waits asked for are kept."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 23, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> EagerClock:
    return EagerClock()


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    store = Store(tmp_path / "objects.db")
    yield InProcessClient(Machine(store, SystemClock()))
    await store.close()
