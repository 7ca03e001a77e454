"""The gateway with the real Envoy: objects in a real store, files swapped as kubelet does."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sysconfig
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from bessemer.base.clock import SystemClock
from bessemer.cluster.apiserver.machine import Machine
from bessemer.cluster.store.store import Store
from bessemer.gateway import manifests
from bessemer.gateway.bootstrap import Authentication, Folders, GatewayOptions, make_bootstrap
from bessemer.gateway.reconciler import make_controller
from bessemer.kinds import meta
from bessemer.kinds.configmap import CONFIG_MAP
from bessemer.kinds.endpointslice import ENDPOINT_SLICE
from bessemer.kinds.httproute import HTTP_ROUTE
from bessemer.kinds.kind import Object
from bessemer.kinds.namespace import NAMESPACE, SYSTEM_NAMESPACE
from bessemer.kinds.service import SERVICE
from bessemer.kube.client import Client, EventType, Selection
from bessemer.kube.errors import NotFound
from bessemer.kube.informer import Informers
from bessemer.kube.inprocess import InProcessClient

DEADLINE_SECONDS = 20.0
ENVOY = Path(sysconfig.get_path("scripts")) / "envoy"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Backend:
    """A server that answers its own name, or nothing while it is silent."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_silent = False
        self.port = 0
        self.requests: list[tuple[str, dict[str, str]]] = []
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
                await reader.readexactly(int(headers.get("content-length", "0")))
                self.requests.append((lines[0].split(" ")[1], headers))
                if self.is_silent:
                    continue
                body = self.name.encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


@dataclass
class World:
    """What a test acts on."""

    machine: Machine
    client: Client
    informers: Informers
    settings: GatewayOptions
    xds: Path
    backends: dict[str, Backend] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://{self.settings.host}:{self.settings.port}"

    async def add_backend(self, name: str, namespace: str = "default") -> Backend:
        """A server, its Service and its EndpointSlice."""
        backend = self.backends[name] = Backend(name)
        await backend.start()
        ports = [{"name": "http", "port": 80, "targetPort": backend.port}]
        await self.client.create(
            SERVICE, meta.new(SERVICE, name, namespace, spec={"ports": ports})
        )
        await self.client.create(ENDPOINT_SLICE, make_slice(name, namespace, [backend.port]))
        return backend

    async def set_endpoints(self, name: str, ports: list[int], namespace: str = "default") -> None:
        new = make_slice(name, namespace, ports)
        await self.client.update(ENDPOINT_SLICE, new)

    async def set_route(self, name: str, spec: Object, namespace: str = "default") -> Object:
        # A patch: the controller may write the status meanwhile.
        try:
            return await self.client.patch(HTTP_ROUTE, name, namespace, {"spec": spec})
        except NotFound:
            route = meta.new(HTTP_ROUTE, name, namespace, spec=spec)
            return await self.client.create(HTTP_ROUTE, route)

    async def until_programmed(self, name: str, namespace: str = "default") -> Object:
        async def look() -> Object | None:
            route = await self.client.get(HTTP_ROUTE, name, namespace)
            generation = route["metadata"].get("generation", 1)
            for parent in meta.dig(route, "status.parents") or ():
                for condition in parent["conditions"]:
                    if condition["observedGeneration"] == generation:
                        return route
            return None

        return await self.until(look)

    async def until(self, look: Callable[[], Any]) -> Any:
        """Ask again on every change of any watched object, and often, until it is true."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not (found := await look()):  # noqa: ASYNC110 - Envoy's state has no event
                await asyncio.sleep(0.01)
            return found


async def ask_often(world: World, path: str, times: int) -> Counter[str]:
    """How often which body was answered, on one connection; anything but 200 fails."""
    reader, writer = await asyncio.open_connection(world.settings.host, world.settings.port)
    seen: Counter[str] = Counter()
    for _ in range(times):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: gateway\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        assert head.startswith("http/1.1 200"), head
        length = re.search(r"content-length: (\d+)", head)
        assert length is not None
        seen[(await reader.readexactly(int(length[1]))).decode()] += 1
    writer.close()
    return seen


def make_slice(service: str, namespace: str, ports: list[int]) -> Object:
    labels = {"kubernetes.io/service-name": service}
    # One port a slice: here each pod has a port of its own on the one address.
    assert len(ports) <= 1
    return meta.new(
        ENDPOINT_SLICE, f"{service}-1", namespace, labels=labels, addressType="IPv4",
        ports=[{"name": "http", "port": port, "protocol": "TCP"} for port in ports],
        endpoints=[{"addresses": ["127.0.0.1"], "conditions": {"ready": True}} for _ in ports],
    )  # fmt: skip


def make_route_spec(path: str, weights: dict[str, int], hosts: tuple[str, ...] = ()) -> Object:
    rewrite = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}
    spec: Object = {
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": path}}],
                "filters": [{"type": "URLRewrite", "urlRewrite": {"path": rewrite}}],
                "backendRefs": [
                    {"kind": "Service", "name": name, "port": 80, "weight": weight}
                    for name, weight in weights.items()
                ],
            }
        ]
    }
    if hosts:
        spec["hostnames"] = list(hosts)
    return spec


def swap(folder: Path, files: dict[str, str], version: str) -> None:
    """Write a ConfigMap's folder as kubelet does: a new folder, then the link is moved."""
    fresh = folder / f"..{version}"
    fresh.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (fresh / name).write_text(text)
    link = folder / "..data_tmp"
    link.symlink_to(fresh.name)
    link.replace(folder / "..data")
    for name in files:  # only now, as kubelet: what is new is named before it can be opened
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")


@asynccontextmanager
async def open_world(
    tmp_path: Path, authentication: Authentication | None = None, patience: float = 10.0
) -> AsyncIterator[World]:
    """A store, the gateway's controller, and Envoy following what it writes."""
    folders = _make_folders(tmp_path)
    settings = GatewayOptions("127.0.0.1", free_port(), authentication, folders, patience=patience)
    async with AsyncExitStack() as stack:
        store = Store(tmp_path / "objects.db")
        stack.push_async_callback(store.close)
        clock = SystemClock()
        machine = Machine(store, clock)
        client = InProcessClient(machine)
        for namespace in ("default", SYSTEM_NAMESPACE):
            await client.create(NAMESPACE, meta.new(NAMESPACE, namespace))
        informers = Informers(client, clock)
        world = World(machine, client, informers, settings, Path(folders.xds))

        def follow(_type: EventType, obj: Object) -> None:
            if meta.name(obj) == manifests.XDS_CONFIG_MAP:
                swap(world.xds, obj["data"], obj["metadata"]["resourceVersion"])

        mine = Selection(namespace=SYSTEM_NAMESPACE)
        informers.of(CONFIG_MAP, mine).subscribe(follow)
        controller = make_controller(client, informers, clock, settings)
        tasks = [asyncio.create_task(informers.run()), asyncio.create_task(controller.run())]
        stack.push_async_callback(_cancel, tasks)

        async def written() -> bool:
            return (world.xds / "rds.json").exists()

        await world.until(written)
        (Path(folders.bootstrap) / "envoy.json").write_text(make_bootstrap(settings))
        log = stack.enter_context((tmp_path / "envoy.log").open("wb"))
        envoy = await asyncio.create_subprocess_exec(
            str(ENVOY), "-c", f"{folders.bootstrap}/envoy.json", "--concurrency", "1",
            "--disable-hot-restart", "--log-level", "warning",
            stderr=log, env={"PATH": os.environ["PATH"]},
        )  # fmt: skip
        stack.push_async_callback(_end, envoy)

        async def answers() -> bool:
            try:
                async with httpx.AsyncClient() as http:
                    return (await http.get(f"{world.url}/-/ready")).status_code == 200
            except httpx.TransportError:
                return False

        await world.until(answers)
        yield world
        for backend in world.backends.values():
            await backend.stop()


def _make_folders(root: Path) -> Folders:
    for name in ("bootstrap", "xds", "run"):
        (root / name).mkdir()
    return Folders(*(str(root / name) for name in ("bootstrap", "xds", "run")))


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    await process.wait()
