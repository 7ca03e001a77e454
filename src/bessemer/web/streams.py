"""Answers that are sent piece by piece."""

from __future__ import annotations

from collections.abc import AsyncIterator


async def chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """All pieces, of which the first was read before, so that "there is none" could be told."""
    yield first
    async for piece in rest:
        yield piece
