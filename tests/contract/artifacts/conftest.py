"""The places for artifacts, each with a way to change what it keeps behind its back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bessemer.artifacts.claim import CLAIM, ClaimStore
from bessemer.artifacts.logs import DiskLogs
from bessemer.artifacts.store import ArtifactStore, LogArchive
from bessemer.base.clock import SystemClock

TEAM, OTHER = "team", "other"


@dataclass
class Place:
    """A store, and what a program of a user or the machine does to what it keeps.

    Attributes:
        disk: the folder behind the namespace ``team``; None where nobody can put a link.
    """

    store: ArtifactStore
    logs: LogArchive
    disk: Path | None

    def uri(self, path: str, namespace: str = TEAM) -> str:
        root = self.store.root(namespace)
        return f"{root}/{path}" if path else root

    async def put(self, path: str, content: bytes = b"", namespace: str = TEAM) -> str:
        uri = self.uri(path, namespace)
        await self.store.write(namespace, uri, pieces(content))
        return uri

    async def content(self, path: str, span: range | None = None) -> bytes:
        opened = await self.store.open(TEAM, self.uri(path))
        try:
            wanted = range(opened.size) if span is None else span
            return b"".join([piece async for piece in opened.read(wanted)])
        finally:
            opened.close()

    async def listed(self, path: str = "") -> dict[str, int]:
        entries = self.store.list(TEAM, self.uri(path))
        return {entry.path: entry.size async for entry in entries}


class Killed(Exception):
    """The writer is no more."""


async def pieces(*contents: bytes) -> AsyncIterator[bytes]:
    for content in contents:
        yield content


async def dying(*contents: bytes) -> AsyncIterator[bytes]:
    """Pieces of a file whose writer ends before it has told all of them."""
    for content in contents:
        yield content
    raise Killed


def _claims(folder: Path) -> Place:
    volumes = folder / "volumes"
    for namespace in (TEAM, OTHER):
        (volumes / ".claims" / namespace).mkdir(parents=True)
        (volumes / namespace).mkdir()
        (volumes / namespace / CLAIM).symlink_to(volumes / ".claims" / namespace)
    # What a URI means and what is kept no API is asked for; ``prepare`` has tests of its own.
    store = ClaimStore(None, SystemClock(), volumes)  # type: ignore[arg-type]
    return Place(store, DiskLogs(folder / "logs"), volumes / ".claims" / TEAM)


@pytest.fixture(params=["claim"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return await asyncio.to_thread(_claims, tmp_path)
