"""API operations per second of any Kubernetes API: ours, or a kube-apiserver beside it.

``python benchmarks/bench_api.py --kubeconfig FILE`` or ``--server URL --token T --ca FILE``.
Writes into a namespace of its own and deletes it. One process, kept-alive TLS connections, raw
asyncio, so that what is measured is the server. Prints a table, and JSON with ``--json``.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import secrets
import ssl
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvloop
import yaml

PAYLOAD = "x" * 300  # with metadata a ConfigMap of about 0.5 KiB
JSON = "application/json"
MERGE = "application/merge-patch+json"


@dataclass(frozen=True)
class Server:
    """Where the API is, and as whom we ask."""

    host: str
    port: int
    token: str
    tls: ssl.SSLContext


@dataclass
class Row:
    """One measured operation."""

    name: str
    rate: float  # operations a second
    times: list[float] = field(repr=False)  # seconds each

    def quantile(self, share: float) -> float:
        """Milliseconds that this share of the operations stayed under."""
        ordered = sorted(self.times)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


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

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


Operation = Callable[[Connection, int], Awaitable[None]]


async def measure(
    server: Server, name: str, operation: Operation, plan: tuple[int, int, int]
) -> Row:
    """Run numbers ``first .. first + count`` over as many connections as asked."""
    concurrency, first, count = plan
    connections = [await Connection(server).open() for _ in range(concurrency)]
    numbers = iter(range(first, first + count))
    times: list[float] = []

    async def work(connection: Connection) -> None:
        for number in numbers:
            begin = time.perf_counter()
            await operation(connection, number)
            times.append(time.perf_counter() - begin)

    begin = time.perf_counter()
    await asyncio.gather(*(work(connection) for connection in connections))
    seconds = time.perf_counter() - begin
    for connection in connections:
        connection.close()
    return Row(f"{name} c={concurrency}", count / seconds, times)


class Bench:
    """The rows, in a namespace of their own."""

    def __init__(self, server: Server, namespace: str) -> None:
        self._server = server
        self._namespace = namespace
        self._path = f"/api/v1/namespaces/{namespace}/configmaps"

    async def prepare(self) -> None:
        """Make the namespace."""
        connection = await Connection(self._server).open()
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self._namespace}}
        _expect(await connection.ask("POST", "/api/v1/namespaces", json.dumps(body).encode()), 201)
        connection.close()

    async def clean(self) -> None:
        """Delete what was made."""
        connection = await Connection(self._server).open()
        await connection.ask("DELETE", self._path)
        await connection.ask("DELETE", f"/api/v1/namespaces/{self._namespace}")
        connection.close()

    def _object(self, name: str) -> bytes:
        metadata = {"name": name, "labels": {"bench": "yes", "n": name}}
        head = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        return json.dumps({**head, "data": {"value": PAYLOAD}}).encode()

    async def create(self, connection: Connection, number: int) -> None:
        """Create one."""
        _expect(await connection.ask("POST", self._path, self._object(f"c{number}")), 201)

    async def get(self, connection: Connection, number: int) -> None:
        """Get one of the first."""
        _expect(await connection.ask("GET", f"{self._path}/c{number % 500}"), 200)

    async def patch(self, connection: Connection, number: int) -> None:
        """Change one of the first."""
        body = json.dumps({"data": {"count": str(number)}}).encode()
        _expect(await connection.ask("PATCH", f"{self._path}/c{number % 500}", body, MERGE), 200)

    async def list(self, connection: Connection, number: int) -> None:
        """List all by label."""
        _expect(await connection.ask("GET", f"{self._path}?labelSelector=bench%3Dyes"), 200)

    async def watch(self, count: int) -> Row:
        """From sending a write to seeing its event on another connection."""
        watching = await Connection(self._server).open()
        writing = await Connection(self._server).open()
        watching.send("GET", f"{self._path}?watch=1&resourceVersion={await self._version()}")
        status, _ = await watching.head()
        _expect((status, b""), 200)
        times = []
        for number in range(count):
            name = f"w{number}".encode()
            begin = time.perf_counter()
            answer = asyncio.ensure_future(
                writing.ask("POST", self._path, self._object(name.decode()))
            )
            seen = b""
            while b'"' + name + b'"' not in seen:
                seen += await watching.chunk()
            times.append(time.perf_counter() - begin)
            _expect(await answer, 201)
        watching.close()
        writing.close()
        return Row("watch latency", count / sum(times), times)

    async def _version(self) -> str:
        connection = await Connection(self._server).open()
        _, body = await connection.ask("GET", f"{self._path}?limit=1")
        connection.close()
        return str(json.loads(body)["metadata"]["resourceVersion"])

    async def run(self, objects: int) -> list[Row]:
        """All rows; the list is of so many objects."""
        server = self._server
        few, many = 600, objects - 600
        return [
            await measure(server, "create", self.create, (1, 0, few)),
            await measure(server, "create", self.create, (16, few, many)),
            await measure(server, "get", self.get, (1, 0, 2000)),
            await measure(server, "get", self.get, (16, 0, 12000)),
            await measure(server, "patch", self.patch, (1, 0, few)),
            await measure(server, "patch", self.patch, (16, 0, 3000)),
            await measure(server, f"list {objects} by label", self.list, (1, 0, 20)),
            await self.watch(300),
        ]


def _expect(answer: tuple[int, bytes], status: int) -> None:
    if answer[0] != status:
        raise SystemExit(f"expected {status}, but got {answer[0]}: {answer[1][:300]!r}")


def _from_kubeconfig(path: Path) -> Server:
    config = yaml.safe_load(path.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    with tempfile.NamedTemporaryFile("wb", suffix=".crt") as stream:
        stream.write(base64.b64decode(cluster["certificate-authority-data"]))
        stream.flush()
        return _server(cluster["server"], user["token"], stream.name)


def _server(url: str, token: str, ca: str) -> Server:
    parts = urlsplit(url)
    return Server(
        str(parts.hostname), int(parts.port or 443), token, ssl.create_default_context(cafile=ca)
    )


def summary(row: Row) -> dict[str, Any]:
    """A row as JSON."""
    return {
        "row": row.name,
        "per_second": round(row.rate, 1),
        "p50_ms": round(row.quantile(0.5), 3),
        "p99_ms": round(row.quantile(0.99), 3),
        "operations": len(row.times),
    }


async def run(server: Server, objects: int) -> list[Row]:
    """Measure, and leave nothing behind."""
    bench = Bench(server, f"bench-{secrets.token_hex(4)}")
    await bench.prepare()
    try:
        return await bench.run(objects)
    finally:
        with contextlib.suppress(OSError):
            await bench.clean()


def main() -> None:
    """Read the arguments, measure as often as asked, print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", type=Path)
    parser.add_argument("--server")
    parser.add_argument("--token")
    parser.add_argument("--ca")
    parser.add_argument("--objects", type=int, default=4200)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.kubeconfig:
        server = _from_kubeconfig(given.kubeconfig)
    elif given.server and given.token and given.ca:
        server = _server(given.server, given.token, given.ca)
    else:
        parser.error("give --kubeconfig, or --server with --token and --ca")
    runs = [uvloop.run(run(server, given.objects)) for _ in range(given.runs)]
    medians = []
    print(f"{'operation':24}{'per second':>12}{'p50 ms':>10}{'p99 ms':>10}")
    for rows in zip(*runs, strict=True):
        rate = statistics.median(row.rate for row in rows)
        row = min(rows, key=lambda found: abs(found.rate - rate))
        medians.append(summary(row))
        print(f"{row.name:24}{row.rate:12.0f}{row.quantile(0.5):10.2f}{row.quantile(0.99):10.2f}")
    if given.json:
        given.json.write_text(json.dumps({"rows": medians, "runs": given.runs}, indent=2) + "\n")


if __name__ == "__main__":
    main()
