"""The places for artifacts, each with a way to change what it keeps behind its back."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import uvicorn
from obstore.store import MemoryStore

from bessemer.artifacts.bucket import BucketLogs, BucketStore
from bessemer.artifacts.claim import CLAIM, ClaimStore
from bessemer.artifacts.face import ArtifactsFace
from bessemer.artifacts.http import HttpStore
from bessemer.artifacts.logs import DiskLogs
from bessemer.artifacts.store import ArtifactStore, LogArchive
from bessemer.artifacts.tokens import Grant, Tokens
from bessemer.artifacts.volume import ROOT, VolumeStore
from bessemer.base.clock import SystemClock

TEAM, OTHER = "team", "other"


@dataclass
class Place:
    """A store, and what a program of a user or the machine does to what it keeps.

    Attributes:
        disk: the folder behind the root of namespace ``team``; None where nobody can put a link.
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


def make_claims(folder: Path) -> Place:
    volumes = folder / "volumes"
    for namespace in (TEAM, OTHER):
        (volumes / ".claims" / namespace).mkdir(parents=True)
        (volumes / namespace).mkdir()
        (volumes / namespace / CLAIM).symlink_to(volumes / ".claims" / namespace)
    # What a URI means and what is kept no API is asked for; ``prepare`` has tests of its own.
    store = ClaimStore(None, SystemClock(), volumes)  # type: ignore[arg-type]
    return Place(store, DiskLogs(folder / "logs"), volumes / ".claims" / TEAM)


def make_volume(folder: Path) -> Place:
    for namespace in (TEAM, OTHER):
        (folder / "volume" / namespace / "mlpipeline" / "v2" / "artifacts").mkdir(parents=True)
    disk = folder / "volume" / TEAM / "mlpipeline" / "v2" / "artifacts"
    return Place(VolumeStore(folder / "volume"), DiskLogs(folder / "logs"), disk)


@contextlib.asynccontextmanager
async def serving(face: ArtifactsFace) -> AsyncIterator[httpx.AsyncClient]:
    """The face on a port of the loopback, and a client of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(face, log_level="error", lifespan="off")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve([listener]))
        try:
            address = "http://{}:{}".format(*listener.getsockname())
            async with httpx.AsyncClient(base_url=address, trust_env=False) as http:
                yield http
        finally:
            server.should_exit = True
            await task


def grant(namespace: str, folder: str = ROOT, *reads: str, seconds: float = 600.0) -> Grant:
    expires = SystemClock().now() + timedelta(seconds=seconds)
    return Grant(namespace, f"run-of-{namespace}", folder, expires, reads)


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(bytes(range(32)), SystemClock())


@pytest.fixture
async def volume(tmp_path: Path) -> Place:
    return await asyncio.to_thread(make_volume, tmp_path)


@pytest.fixture
async def http(volume: Place, tokens: Tokens) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(ArtifactsFace(volume.store, tokens)) as client:
        yield client


@contextlib.asynccontextmanager
async def open_place(kind: str, folder: Path) -> AsyncIterator[Place]:
    if kind == "bucket":
        bucket = BucketStore(MemoryStore(), "gs://kept/artifacts")
        yield Place(bucket, BucketLogs(MemoryStore()), None)
        return
    make = make_claims if kind == "claim" else make_volume
    made = await asyncio.to_thread(make, folder)
    if kind != "http":
        yield made
        return
    signer = Tokens(bytes(range(32)), SystemClock())
    async with serving(ArtifactsFace(made.store, signer)) as http:
        shown = {name: signer.sign(grant(name)) for name in (TEAM, OTHER)}
        yield Place(HttpStore(http, shown), made.logs, made.disk)


@pytest.fixture(params=["claim", "volume", "http", "bucket"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    async with open_place(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture(params=["claim", "volume", "http"])
async def on_disk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """Places where somebody can put a link."""
    async with open_place(request.param, tmp_path) as opened:
        yield opened
