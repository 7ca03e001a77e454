"""grpc.health.v1.Health/Check over one HTTP/2 connection, by hand.

Source: grpc-proto grpc/health/v1/health.proto; grpc doc/PROTOCOL-HTTP2.md.
"""

from __future__ import annotations

import asyncio
import contextlib

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)

_SERVING = 1
_READ_BYTES = 65536


async def check(host: str, port: int, service: str) -> tuple[bool, str]:
    """Whether the service says SERVING, and what it said otherwise."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        return await _exchange(reader, writer, f"{host}:{port}", service)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str, service: str
) -> tuple[bool, str]:
    connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    connection.initiate_connection()
    headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/grpc.health.v1.Health/Check"),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ]
    connection.send_headers(1, headers)
    connection.send_data(1, _frame(_request(service)), end_stream=True)
    writer.write(connection.data_to_send())
    body, told = b"", dict[str, str]()
    while True:
        data = await reader.read(_READ_BYTES)
        if not data:
            return False, "the connection was closed"
        for event in connection.receive_data(data):
            if isinstance(event, DataReceived):
                body += event.data
                connection.acknowledge_received_data(event.flow_controlled_length, 1)
            elif isinstance(event, ResponseReceived | TrailersReceived):
                told.update({str(name): str(value) for name, value in event.headers or ()})
            elif isinstance(event, StreamEnded):
                return _verdict(told, body)
            elif isinstance(event, StreamReset | ConnectionTerminated):
                return False, "the request was reset"
        writer.write(connection.data_to_send())


def _request(service: str) -> bytes:
    name = service.encode()
    return b"\x0a" + _varint(len(name)) + name if name else b""


def _frame(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _verdict(told: dict[str, str], body: bytes) -> tuple[bool, str]:
    if told.get("grpc-status", "0") != "0":
        return False, f"grpc-status {told['grpc-status']}: {told.get('grpc-message', '')}"
    message = body[5:]
    serving = message[:1] == b"\x08" and message[1:2] == bytes([_SERVING])
    return serving, "" if serving else "service unhealthy (responded with NOT_SERVING or nothing)"
