"""The client's implementations, each over the whole API: store, machine, admission, https."""

import asyncio
import contextlib
import gc
import socket
import warnings
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import kubernetes_client
import kubernetes_peer
import pytest
import uvicorn

from bessemer.base.clock import SystemClock
from bessemer.cluster.admission.chain import Admission
from bessemer.cluster.admission.services import Addresses
from bessemer.cluster.apiserver import certificates
from bessemer.cluster.apiserver.app import ApiServerConfig, build_app
from bessemer.cluster.apiserver.machine import Machine, make_lookup
from bessemer.cluster.apiserver.rbac import Rbac
from bessemer.cluster.apiserver.tokens import TokenIssuer, Tokens
from bessemer.cluster.store.store import Store
from bessemer.kinds import meta
from bessemer.kinds.configmap import CONFIG_MAP
from bessemer.kinds.deployment import DEPLOYMENT
from bessemer.kinds.kind import Kind, Object
from bessemer.kinds.lease import LEASE
from bessemer.kinds.namespace import NAMESPACE
from bessemer.kinds.pod import POD
from bessemer.kinds.serviceaccount import SERVICE_ACCOUNT
from bessemer.kube import http
from bessemer.kube.client import Client, DeleteOptions, LogOptions, Selection
from bessemer.kube.errors import AlreadyExists, BadRequest, NotFound
from bessemer.kube.inprocess import InProcessClient

BUILT = Path(__file__).parents[3] / "benchmarks" / ".work" / "kubernetes"


class MemoryLogs:
    """A node's logs: each pod's is what its annotation ``log`` says, and whom it is read by."""

    def __init__(self) -> None:
        self.asked: list[LogOptions] = []
        self.open = 0

    async def read(self, pod: Object, options: LogOptions) -> AsyncIterator[bytes]:
        self.asked.append(options)
        if options.container not in ("", "main"):
            raise BadRequest(f"container {options.container} is not valid for pod {pod}")
        self.open += 1
        try:
            yield b""
            yield meta.annotations(pod).get("log", "").encode()
            while options.follow:
                await asyncio.sleep(0.001)
                yield b"."
        finally:
            self.open -= 1


@pytest.fixture
def node_logs() -> MemoryLogs:
    return MemoryLogs()


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    store = Store(tmp_path / "objects.db")
    admission = Admission(make_lookup(store), Addresses("127.77.0.0/17", list))
    machine = Machine(store, SystemClock(), admission)
    admin = InProcessClient(machine)
    await admin.create(NAMESPACE, meta.new(NAMESPACE, "default"))
    await admin.create(SERVICE_ACCOUNT, meta.new(SERVICE_ACCOUNT, "default", "default"))
    yield machine
    await store.close()


@dataclass
class Face:
    """A served API: where it is, whom to trust, and the admin's client and token."""

    server: str
    ca: str
    token: str
    client: http.HttpClient


@contextlib.asynccontextmanager
async def serving(machine: Machine, folder: Path, node_logs: MemoryLogs) -> AsyncIterator[Face]:
    """The machine's https face."""
    clock = SystemClock()
    keys = certificates.ensure(folder, ["127.0.0.1"], clock)
    tokens = Tokens(keys.admin_token, keys.signing_key.public_key(), machine.lookup, clock)
    issuer = TokenIssuer(keys.signing_key, machine.lookup, clock)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        build_app(ApiServerConfig(machine, Rbac(), tokens, issuer, clock, node_logs)),
        ssl_keyfile=keys.key_file,
        ssl_certfile=str(keys.certificate_file),
        ws="none",
        log_config=None,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve([listener]))
    address = f"https://127.0.0.1:{listener.getsockname()[1]}"
    client = http.HttpClient(address, keys.admin_token, http.trust(keys.ca))
    try:
        yield Face(address, keys.ca, keys.admin_token, client)
    finally:
        await client.close()
        server.should_exit = True
        await task
        listener.close()


@pytest.fixture(scope="session")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kubernetes_client.Server]:
    """Upstream's own API server, where ``benchmarks/kubernetes_build.py`` has built it."""
    missing = [name for name in ("etcd", "kube-apiserver") if not (BUILT / name).exists()]
    if missing:
        pytest.skip(f"python benchmarks/kubernetes_build.py has not built {' and '.join(missing)}")
    peer = kubernetes_peer.kubernetes(tmp_path_factory.mktemp("upstream"))
    # In a thread, for it has a loop of its own, and this fixture is asked for by one's coroutine.
    with ThreadPoolExecutor(1) as thread:
        server = thread.submit(peer.__enter__).result()
    with warnings.catch_warnings(action="ignore"):
        gc.collect()  # of asking until it answers, connections that were refused are left
    yield server
    peer.__exit__(None, None, None)


@contextlib.asynccontextmanager
async def upstream_client(server: kubernetes_client.Server) -> AsyncIterator[Client]:
    """Its admin's client; what a test leaves in namespace default goes."""
    client = http.HttpClient(f"https://{server.host}:{server.port}", server.token, server.tls)
    with contextlib.suppress(AlreadyExists):
        await client.create(SERVICE_ACCOUNT, meta.new(SERVICE_ACCOUNT, "default", "default"))
    try:
        yield client
        for kind in (CONFIG_MAP, POD, DEPLOYMENT, LEASE):
            for obj in (await client.list(kind, Selection("default"))).items:
                await end(client, kind, obj)
    finally:
        await client.close()


async def end(client: Client, kind: Kind, obj: Object) -> None:
    """Have the object gone, whatever holds it."""
    name, namespace = meta.name(obj), meta.namespace(obj)
    if obj["metadata"].get("finalizers"):
        await client.patch(kind, name, namespace, {"metadata": {"finalizers": None}})
    with contextlib.suppress(NotFound):
        await client.delete(kind, name, namespace, DeleteOptions(grace_seconds=0))


UPSTREAM = pytest.param("upstream", marks=pytest.mark.xdist_group("upstream"))


@pytest.fixture(params=["inprocess", "http", UPSTREAM])
async def client(
    request: pytest.FixtureRequest, machine: Machine, tmp_path: Path, node_logs: MemoryLogs
) -> AsyncIterator[Client]:
    if request.param == "upstream":
        if request.node.get_closest_marker("node") is not None:
            pytest.skip("upstream's API server runs alone here, without the node that this needs")
        async with upstream_client(request.getfixturevalue("upstream")) as found:
            yield found
        return
    if request.param == "inprocess":
        client = InProcessClient(machine)
        client.serve_logs(node_logs)
        yield client
    else:
        async with serving(machine, tmp_path / "keys", node_logs) as face:
            yield face.client


@pytest.fixture
async def face(machine: Machine, tmp_path: Path, node_logs: MemoryLogs) -> AsyncIterator[Face]:
    async with serving(machine, tmp_path / "keys", node_logs) as served:
        yield served
