"""Asks a running Envoy what it uses now: by its answer, not by a wait, a change has arrived."""

from __future__ import annotations

import asyncio
import json
import re

from bessemer.gateway import plan
from bessemer.gateway.bootstrap import GatewayOptions
from bessemer.gateway.plan import InUse
from bessemer.kinds.kind import Object

_TIMEOUT_SECONDS = 2.0


async def ask(settings: GatewayOptions) -> InUse | None:
    """What the Envoy there uses; None when it does not answer."""
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            reader, writer = await asyncio.open_connection(settings.host, settings.port)
            try:
                # The routes' version first: what is read after it is at least as new.
                version = await _get(reader, writer, settings, plan.VERSION_PATH)
                clusters = await _get(reader, writer, settings, plan.CLUSTERS_PATH)
                listeners = await _get(reader, writer, settings, plan.LISTENERS_PATH)
            finally:
                writer.close()
        return plan.read_in_use(version, _parse(clusters), _parse(listeners))
    except (OSError, TimeoutError, ValueError, EOFError):
        return None


def _parse(text: str) -> Object:
    parsed: Object = json.loads(text)
    return parsed


async def _get(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, settings: GatewayOptions, path: str
) -> str:
    authentication = settings.authentication
    token = authentication.admin_token if authentication is not None else "-"
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    )
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    body = await _read_body(reader, head)
    if not head.startswith("http/1.1 200"):
        raise ValueError(f"{path} of the gateway must come with 200, got {head[:100]!r}")
    return body.decode()


async def _read_body(reader: asyncio.StreamReader, head: str) -> bytes:
    # By its length: Envoy leaves the connection open.
    if (length := re.search(r"\r\ncontent-length: (\d+)\r\n", head)) is not None:
        return await reader.readexactly(int(length[1]))
    parts = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return b"".join(parts)
