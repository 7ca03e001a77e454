"""A log is a stream, whichever API it comes from."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import pytest

from bessemer.kinds import meta
from bessemer.kinds.pod import POD
from bessemer.kube.client import Client, LogOptions
from bessemer.kube.errors import BadRequest, NotFound

pytestmark = pytest.mark.node

MOMENT = datetime(2026, 11, 30, 12, tzinfo=UTC)
ALL = LogOptions("main", False, True, MOMENT, 3, 100, True)  # noqa: FBT003 - a row of options


async def make_pod(client: Client, log: str) -> None:
    containers = [{"name": "main", "image": "python:3.11"}]
    pod = meta.new(POD, "a", "default", spec={"containers": containers})
    pod["metadata"]["annotations"] = {"log": log}
    await client.create(POD, pod)


async def read(client: Client, **options: Any) -> bytes:
    pieces = [piece async for piece in client.logs("a", "default", LogOptions(**options))]
    return b"".join(pieces)


@pytest.mark.parametrize("text", ["", "one\ntwo\n", "ü" * 100_000])
async def test_it_is_what_the_pod_wrote(client: Client, text: str) -> None:
    await make_pod(client, text)

    assert await read(client) == text.encode()


async def test_every_option_reaches_the_node(client: Client, node_logs: Any) -> None:
    await make_pod(client, "x")
    await read(client)
    pieces = [piece async for piece in client.logs("a", "default", ALL)]

    assert b"".join(pieces) == b"x"
    assert node_logs.asked == [LogOptions(), ALL]


async def test_what_cant_be_read_raises_before_the_first_piece(client: Client) -> None:
    with pytest.raises(NotFound, match='pods "a" not found'):
        await read(client)
    await make_pod(client, "x")
    with pytest.raises(BadRequest, match="container other is not valid"):
        await read(client, container="other")


async def test_a_followed_log_begins_at_once_and_ends_with_its_reader(
    client: Client, node_logs: Any
) -> None:
    await make_pod(client, "begun")
    seen = b""
    async with aclosing(client.logs("a", "default", LogOptions(follow=True))) as pieces:  # type: ignore[type-var]  # an asynchronous generator in both
        assert await anext(pieces) == b""
        async for piece in pieces:
            seen += piece
            if seen.count(b".") > 2:
                break

    assert seen.startswith(b"begun")
    async with asyncio.timeout(10):
        while node_logs.open:  # noqa: ASYNC110 - the server notes a hung up client in its time
            await asyncio.sleep(0.01)
