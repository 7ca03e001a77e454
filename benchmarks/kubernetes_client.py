"""What bench_api asks with: kept-alive TLS connections in raw asyncio.

The same for every server, and so little of it that the server is what is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

JSON = "application/json"
MERGE = "application/merge-patch+json"
ACCOUNT = "bench"
RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True)
class Server:
    """Where the API is, and as whom we ask."""

    host: str
    port: int
    token: str
    tls: ssl.SSLContext


def server(url: str, token: str, ca: Path) -> Server:
    """A server whose certificate this CA (a PEM file) signed."""
    parts = urlsplit(url)
    tls = ssl.create_default_context(cafile=str(ca))
    return Server(str(parts.hostname), int(parts.port or 443), token, tls)


class Connection:
    """One kept-alive connection."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def open(self) -> Connection:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection(
            self._server.host, self._server.port, ssl=self._server.tls, limit=64 * 1024 * 1024
        )
        return self

    def send(self, method: str, path: str, body: bytes = b"", content_type: str = JSON) -> None:
        """Write a request."""
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self._server.host}\r\n"
            f"Authorization: Bearer {self._server.token}\r\nAccept: application/json\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)

    async def head(self) -> tuple[int, dict[str, str]]:
        """Read status and headers of an answer."""
        text = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = text.strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        return int(first.split(" ")[1]), headers

    async def chunk(self) -> bytes:
        """Read one chunk; empty at the end."""
        size = int(await self._reader.readline(), 16)
        data = await self._reader.readexactly(size)
        await self._reader.readline()
        return data

    async def ask(
        self, method: str, path: str, body: bytes = b"", content_type: str = JSON
    ) -> tuple[int, bytes]:
        """A whole exchange."""
        self.send(method, path, body, content_type)
        status, headers = await self.head()
        if "content-length" in headers:
            return status, await self._reader.readexactly(int(headers["content-length"]))
        pieces = []
        while piece := await self.chunk():
            pieces.append(piece)
        return status, b"".join(pieces)

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create an object, and give what was stored. Anything but 201 ends the program."""
        answer = await self.ask("POST", path, json.dumps(body).encode())
        expect(answer, 201)
        found: dict[str, Any] = json.loads(answer[1])
        return found

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    async def close_wholly(self) -> None:
        """Hang up, and wait until it is done: the loop may end then."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


def expect(answer: tuple[int, bytes], status: int) -> None:
    """End the program at any other status: a failed operation is not to be measured."""
    if answer[0] != status:
        raise SystemExit(f"expected {status}, but got {answer[0]}: {answer[1][:300]!r}")


async def as_account(admin: Server) -> Server:
    """The same server asked as a service account, whose every request RBAC decides."""
    connection = await Connection(admin).open()
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    await connection.create(accounts, {"metadata": {"name": ACCOUNT}})
    role = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin"}
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": "default"}
    binding = {"metadata": {"name": ACCOUNT}, "roleRef": role, "subjects": [subject]}
    await connection.create(f"/apis/{RBAC}/v1/clusterrolebindings", binding)
    asked = await connection.create(f"{accounts}/{ACCOUNT}/token", {"spec": {}})
    connection.close()
    return replace(admin, token=asked["status"]["token"])
