"""A machine over a store of its own, at a time that stands still."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bessemer.cluster.apiserver.machine import Machine
from bessemer.cluster.store.store import Store


class StillClock:
    """Always the same moment."""

    def now(self) -> datetime:
        return datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nothing here waits, but {seconds} s were asked for")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(tmp_path / "objects.db")
    yield opened
    await opened.close()


@pytest.fixture
def machine(store: Store) -> Machine:
    return Machine(store, StillClock())
