"""The gRPC health check against a real HTTP/2 peer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded

from bessemer.cluster.kubelet.pods import grpchealth


@asynccontextmanager
async def health_server(answers: dict[bytes, bytes], grpc_status: str = "0") -> AsyncIterator[int]:
    """Answers Health/Check by the request's bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        connection.initiate_connection()
        body = b""
        while data := await reader.read(65536):
            for event in connection.receive_data(data):
                if isinstance(event, DataReceived):
                    body += event.data
                elif isinstance(event, StreamEnded):
                    message = answers[body[5:]]
                    headers = [(":status", "200"), ("content-type", "application/grpc")]
                    connection.send_headers(1, headers)
                    connection.send_data(1, b"\0" + len(message).to_bytes(4, "big") + message)
                    connection.send_headers(1, [("grpc-status", grpc_status)], end_stream=True)
            writer.write(connection.data_to_send())
        writer.close()
        await writer.wait_closed()
        ended.set()

    ended = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        await ended.wait()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("answer", "healthy"), [(b"\x08\x01", True), (b"\x08\x02", False), (b"", False)]
)
async def test_the_answer_decides(answer: bytes, healthy: bool) -> None:  # noqa: FBT001 - a table
    async with health_server({b"": answer}) as port:
        assert (await grpchealth.check("127.0.0.1", port, ""))[0] is healthy


async def test_a_service_by_name() -> None:
    async with health_server({b"\x0a\x03abc": b"\x08\x01"}) as port:
        assert await grpchealth.check("127.0.0.1", port, "abc") == (True, "")


async def test_an_error_is_told() -> None:
    async with health_server({b"": b""}, grpc_status="5") as port:
        healthy, message = await grpchealth.check("127.0.0.1", port, "")
    assert not healthy
    assert "grpc-status 5" in message
