"""A store of its own for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bessemer.cluster.store.store import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "objects.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    opened = Store(path)
    yield opened
    await opened.close()
