"""Operations per second of our Kubernetes API beside upstream's kube-apiserver on etcd.

Both run at once, are asked by the same client in turn, operation by operation, as a service
account that RBAC lets do it, over TLS. Every round has a namespace of its own. Where there is no
Go to build the peer with, ours is measured alone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import secrets
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes_build
import kubernetes_client
import kubernetes_peer
import uvloop
from bessemer_up import bessemer
from kubernetes_client import MERGE, Connection, Server, expect

ROUNDS = 3
OURS, PEER = "bessemer", "kube-apiserver"
PAYLOAD = "x" * 300  # with metadata a ConfigMap of about 0.5 KiB
FEW = 600  # operations of a slow kind at c=1

Operation = Callable[[Connection, int], Awaitable[None]]


@dataclass(frozen=True)
class Run:
    """One row of one round on one server."""

    rate: float  # operations a second
    times: list[float]  # seconds each

    def figures(self) -> dict[str, float]:
        """A second, and the milliseconds that half and 99 % of the operations stayed under."""
        return {
            "per_second": self.rate,
            "p50_ms": 1000 * self._quantile(0.5),
            "p99_ms": 1000 * self._quantile(0.99),
        }

    def _quantile(self, share: float) -> float:
        ordered = sorted(self.times)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Namespace:
    """A namespace of one server's, and the operations in it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._name = f"bench-{secrets.token_hex(4)}"
        self._path = f"/api/v1/namespaces/{self._name}/configmaps"

    async def prepare(self) -> None:
        """Make it."""
        connection = await Connection(self.server).open()
        await connection.create("/api/v1/namespaces", {"metadata": {"name": self._name}})
        connection.close()

    async def clean(self) -> None:
        """Delete it and what was made in it."""
        connection = await Connection(self.server).open()
        expect(await connection.ask("DELETE", self._path), 200)
        await connection.ask("DELETE", f"/api/v1/namespaces/{self._name}")
        connection.close()

    def _object(self, name: str) -> bytes:
        metadata = {"name": name, "labels": {"bench": "yes", "n": name}}
        head = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        return json.dumps({**head, "data": {"value": PAYLOAD}}).encode()

    async def create(self, connection: Connection, number: int) -> None:
        """Create one."""
        expect(await connection.ask("POST", self._path, self._object(f"c{number}")), 201)

    async def get(self, connection: Connection, number: int) -> None:
        """Get one of the first."""
        expect(await connection.ask("GET", f"{self._path}/c{number % 500}"), 200)

    async def patch(self, connection: Connection, number: int) -> None:
        """Change one of the first."""
        body = json.dumps({"data": {"count": str(number)}}).encode()
        expect(await connection.ask("PATCH", f"{self._path}/c{number % 500}", body, MERGE), 200)

    async def list(self, connection: Connection, number: int) -> None:
        """List all by label."""
        expect(await connection.ask("GET", f"{self._path}?labelSelector=bench%3Dyes"), 200)

    async def watch(self, count: int) -> Run:
        """From sending a write to seeing its event on another connection."""
        watching = await Connection(self.server).open()
        writing = await Connection(self.server).open()
        watching.send("GET", f"{self._path}?watch=1&resourceVersion={await self._version()}")
        status, _ = await watching.head()
        expect((status, b""), 200)
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
            expect(await answer, 201)
        watching.close()
        writing.close()
        return Run(count / sum(times), times)

    async def _version(self) -> str:
        connection = await Connection(self.server).open()
        _, body = await connection.ask("GET", f"{self._path}?limit=1")
        connection.close()
        return str(json.loads(body)["metadata"]["resourceVersion"])

    def rows(self, objects: int) -> Iterator[tuple[str, Awaitable[Run]]]:
        """The rows in their order; the list is of so many objects."""
        yield "create c=1", self._measure(self.create, 1, range(FEW))
        yield "create c=16", self._measure(self.create, 16, range(FEW, objects))
        yield "get c=1", self._measure(self.get, 1, range(2000))
        yield "get c=16", self._measure(self.get, 16, range(12000))
        yield "patch c=1", self._measure(self.patch, 1, range(FEW))
        yield "patch c=16", self._measure(self.patch, 16, range(3000))
        yield f"list {objects} by label", self._measure(self.list, 1, range(20))
        yield "watch latency", self.watch(300)

    async def _measure(self, operation: Operation, concurrency: int, work: range) -> Run:
        """These numbers, over as many connections as asked, opened before the clock starts."""
        connections = [await Connection(self.server).open() for _ in range(concurrency)]
        numbers = iter(work)
        times: list[float] = []

        async def drain(connection: Connection) -> None:
            for number in numbers:
                begin = time.perf_counter()
                await operation(connection, number)
                times.append(time.perf_counter() - begin)

        begin = time.perf_counter()
        await asyncio.gather(*(drain(connection) for connection in connections))
        seconds = time.perf_counter() - begin
        for connection in connections:
            connection.close()
        return Run(len(work) / seconds, times)


async def measure(servers: dict[str, Server], objects: int) -> dict[str, dict[str, Run]]:
    """One round: by row, by server. Who is asked first changes from row to row."""
    places = {name: Namespace(server) for name, server in servers.items()}
    for place in places.values():
        await place.prepare()
    rows = {name: place.rows(objects) for name, place in places.items()}
    found: dict[str, dict[str, Run]] = {}
    order = list(places)
    try:
        while step := {name: row for name, each in rows.items() if (row := next(each, None))}:
            for name in order:
                title, work = step[name]
                found.setdefault(title, {})[name] = await work
            order.reverse()
    finally:
        for place in places.values():
            with contextlib.suppress(OSError):
                await place.clean()
    return found


async def compare(admins: dict[str, Server], rounds: int, objects: int) -> list[dict[str, Any]]:
    """Rows with each server's medians over the rounds, and how many times as fast ours is."""
    servers = {name: await kubernetes_client.as_account(admin) for name, admin in admins.items()}
    return summarise([await measure(servers, objects) for _ in range(rounds)])


def summarise(rounds: list[dict[str, dict[str, Run]]]) -> list[dict[str, Any]]:
    table: list[dict[str, Any]] = []
    for title, servers in rounds[0].items():
        row: dict[str, Any] = {"row": title}
        for name in servers:
            each = [one[title][name].figures() for one in rounds]
            row[name] = {
                key: round(statistics.median(run[key] for run in each), 3) for key in each[0]
            }
        if PEER in row:
            row["ratio"] = round(row[OURS]["per_second"] / row[PEER]["per_second"], 2)
        table.append(row)
    return table


@contextlib.contextmanager
def ours() -> Iterator[Server]:
    with bessemer() as up:
        url, token = up.env["BESSEMER_API"], up.env["BESSEMER_TOKEN"]
        yield kubernetes_client.server(url, token, up.home / "keys" / "ca.crt")


@contextlib.contextmanager
def both() -> Iterator[dict[str, Server]]:
    """Ours, and the peer where it can be had."""
    with contextlib.ExitStack() as stack:
        servers = {}
        try:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-peer-")))
            servers[PEER] = stack.enter_context(kubernetes_peer.kubernetes(folder))
        except kubernetes_build.NoPeerError as error:
            print(f"kube-apiserver and etcd are left out: {error}")
        yield {OURS: stack.enter_context(ours()), **servers}


def show(table: list[dict[str, Any]]) -> None:
    names = [name for name in (OURS, PEER) if name in table[0]]
    print(f"{'':22}" + "".join(f"{name + ' /s':>20}{'p50 ms':>8}{'p99 ms':>8}" for name in names))
    for row in table:
        cells = [
            f"{row[name]['per_second']:20.0f}{row[name]['p50_ms']:8.2f}{row[name]['p99_ms']:8.2f}"
            for name in names
        ]
        ratio = f"{row['ratio']:9.2f}x" if "ratio" in row else ""
        print(f"{row['row']:22}" + "".join(cells) + ratio)


def main() -> None:
    """Measure, print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=4200)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with both() as servers:
        table = uvloop.run(compare(servers, given.rounds, given.objects))
    show(table)
    if given.json:
        peers = kubernetes_peer.versions() if PEER in table[0] else {}
        figures = {"rows": table, "rounds": given.rounds, "peer": peers}
        given.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
