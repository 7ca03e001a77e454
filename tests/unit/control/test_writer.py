"""Writes that a controller makes side by side."""

from __future__ import annotations

import asyncio

import pytest

from bessemer.control.writer import together
from bessemer.kube.errors import Conflict


async def test_a_failure_is_told_once_the_other_writes_are_over() -> None:
    """Else the key would be tried again while they are still under way."""
    may_end, ended = asyncio.Event(), asyncio.Event()

    async def fail() -> None:
        raise Conflict("somebody else wrote in between")

    async def write() -> None:
        await may_end.wait()
        ended.set()

    whole = asyncio.create_task(together([fail(), write()]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not whole.done()
    may_end.set()
    with pytest.raises(Conflict):
        await whole
    assert ended.is_set()
