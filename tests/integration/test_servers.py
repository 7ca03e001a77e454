"""The HTTP faces against clients that mean ill, by raw sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bessemer.app.connections import Limits
from bessemer.app.servers import Server

LIMITS = Limits(
    connections=8,
    head_seconds=0.5,
    body_seconds=0.5,
    rest_seconds=0.5,
    idle_seconds=0.5,
    rest_bytes=16 << 20,
)
OK = b"HTTP/1.1 200 OK\r\n"
WHOLE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
TOKEN = b"Authorization: Bearer known\r\n"


NEWS: list[asyncio.Event] = []


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers who asks, and reads the body of /echo; /stream tells news for ever."""
    known = (b"authorization", b"Bearer known") in scope["headers"]
    status = 200 if known or scope["path"] == "/" else 401
    if scope["path"] == "/echo":
        while (await receive()).get("more_body"):
            pass
    length = [] if scope["path"] == "/stream" else [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": status, "headers": length})
    if scope["path"] == "/stream":
        NEWS.append(asyncio.Event())
        await NEWS[-1].wait()
        await send({"type": "http.response.body", "body": b"news"})
        return
    await send({"type": "http.response.body", "body": b""})


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class World:
    """A server, and connections to it that end with the test."""

    def __init__(self, port: int, stack: contextlib.AsyncExitStack) -> None:
        self.port = port
        self._stack = stack

    async def connect(self, data: bytes = b"", address: str = "127.0.0.1") -> Connection:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, local_addr=(address, 0)
        )
        self._stack.callback(writer.close)
        writer.write(data)
        return reader, writer

    async def ask(self) -> bytes:
        reader, _ = await self.connect(WHOLE)
        return await reader.readline()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    server = Server(app, bound, limits=LIMITS)
    serving = asyncio.create_task(server.run_until_stopped())
    await server.wait_started()
    async with contextlib.AsyncExitStack() as stack:
        yield World(bound.getsockname()[1], stack)
        server.stop()
    await serving


async def flood(connection: Connection, piece: bytes, most: int) -> int:
    """Send pieces until the other end has had enough; how many bytes it took."""
    _, writer = connection
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < most and not connection[0].at_eof():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
            sent += len(piece)
    return sent


ENDLESS = [
    b"GET / HTTP/1.1\r\nHost: x\r\nX: ",
    b"GET /",
    b"GET / HTTP/1.1\r\n",
    b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;",
    b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
]


@pytest.mark.parametrize("begin", ENDLESS, ids=["value", "path", "fields", "chunk", "trailer"])
async def test_what_has_no_end_is_not_read_to_it(world: World, begin: bytes) -> None:
    connection = await world.connect(begin)
    piece = (b"A: b\r\n" if begin.endswith(b"1.1\r\n") else b"aaaaaa") * 1000

    sent = await flood(connection, piece, 64 << 20)

    assert sent < 40 << 20
    assert await world.ask() == OK


async def test_a_head_over_the_limit_is_told(world: World) -> None:
    fields = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(70))
    for head in (
        b"GET / HTTP/1.1\r\nHost: x\r\n" + fields,
        b"GET /?" + b"q" * 70_000 + b" HTTP/1.1\r\n",
    ):
        reader, _ = await world.connect(head + b"\r\n")
        assert (await reader.readline()).split()[1] == b"431"
    reader, _ = await world.connect(b"GET /?" + b"q" * 60_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await reader.readline() == OK


@pytest.mark.parametrize(
    "begin",
    [
        b"",
        b"GET / HT",
        WHOLE + b"GET / HT",
        WHOLE,
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx",
        b"nonsense\r\n\r\n",
    ],
    ids=["nothing", "head", "second", "idle", "body", "rest", "nonsense"],
)
async def test_half_a_request_is_waited_for_no_longer(world: World, begin: bytes) -> None:
    reader, _ = await world.connect(begin)

    await reader.read()  # to its end, which the other side makes

    assert await world.ask() == OK


async def test_a_refused_body_is_read_for_a_while_and_no_more(world: World) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n"
    connection = await world.connect(head)
    assert await connection[0].readline() == OK

    assert await flood(connection, b"x" * 65_536, 1 << 30) < 128 << 20


async def test_who_has_no_token_makes_room_and_a_watch_stays(world: World) -> None:
    watch = await world.connect(b"GET /stream HTTP/1.1\r\nHost: x\r\n" + TOKEN + b"\r\n")
    assert await watch[0].readline() == OK
    for number in range(40):
        await world.connect(address=f"127.0.0.{number % 4 + 1}")
        assert await world.ask() == OK

    NEWS.pop().set()
    assert await watch[0].readuntil(b"news")


async def test_too_many_requests_in_one_piece_end_the_connection(world: World) -> None:
    reader, _ = await world.connect(WHOLE * 1000)

    with contextlib.suppress(ConnectionError):
        assert (await reader.read()).count(OK) < 1000
    assert await world.ask() == OK
