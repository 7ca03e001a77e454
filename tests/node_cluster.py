"""A whole embedded cluster but for HTTP: store, admission, scheduler, node; for node tests."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519

from bessemer.app.images import IMAGES
from bessemer.base.clock import Clock, SystemClock
from bessemer.base.home import Home
from bessemer.cluster.admission.chain import Admission
from bessemer.cluster.apiserver.machine import Machine
from bessemer.cluster.apiserver.tokens import TokenIssuer
from bessemer.cluster.controllers.protection import ClaimProtection
from bessemer.cluster.kubelet.logs.logfiles import LogFiles
from bessemer.cluster.kubelet.pods.agent import NodeAgent
from bessemer.cluster.kubelet.pods.dependencies import ClusterAccess, NodeConfig
from bessemer.cluster.kubelet.runtime.base import ContainerState, Runtime
from bessemer.cluster.kubelet.runtime.choose import choose_runtime
from bessemer.cluster.kubelet.volumes import memory
from bessemer.cluster.kubelet.volumes.claims import ClaimBinder
from bessemer.cluster.scheduler.reconciler import Scheduler
from bessemer.cluster.store.store import Store
from bessemer.kinds import meta
from bessemer.kinds.configmap import CONFIG_MAP
from bessemer.kinds.event import EVENT
from bessemer.kinds.kind import Object
from bessemer.kinds.namespace import NAMESPACE
from bessemer.kinds.node import NODE
from bessemer.kinds.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIM
from bessemer.kinds.pod import POD
from bessemer.kinds.serviceaccount import SERVICE_ACCOUNT
from bessemer.kube.client import Client, EventType, LogOptions
from bessemer.kube.errors import NotFound
from bessemer.kube.informer import Informers
from bessemer.kube.inprocess import InProcessClient

DEADLINE_SECONDS = 30.0


class _NoAddresses:
    """Services of these tests bring their own address."""

    def take(self) -> str:
        return "127.77.0.1"

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


@dataclass
class Cluster:
    """What a test acts on."""

    home: Home
    client: Client
    informers: Informers
    runtime: Runtime
    logs: LogFiles

    async def namespace(self, name: str) -> None:
        try:
            await self.client.get(NAMESPACE, name)
        except NotFound:
            await self.client.create(NAMESPACE, meta.new(NAMESPACE, name))
        for kind, each in ((SERVICE_ACCOUNT, "default"), (CONFIG_MAP, "kube-root-ca.crt")):
            parts = {"data": {"ca.crt": "no certificate"}} if kind is CONFIG_MAP else {}
            await self.client.create(kind, meta.new(kind, each, name, **parts))

    async def registered(self) -> None:
        """Wait for the node."""
        seen = asyncio.Event()
        self.informers.of(NODE).subscribe(
            lambda _, node: seen.set() if meta.dig(node, "status.allocatable") else None
        )
        async with asyncio.timeout(DEADLINE_SECONDS):
            await seen.wait()

    async def run(self, name: str, *command: str, **parts: Any) -> Object:
        """Create a pod with one container; ``spec`` and container fields by keyword."""
        spec = parts.pop("spec", {})
        namespace = parts.pop("namespace", "default")
        container = {"name": "main", "image": "busybox", "command": list(command), **parts}
        pod = meta.new(
            POD, name, namespace,
            spec={"restartPolicy": "Never", "containers": [container], **spec},
        )  # fmt: skip
        return await self.client.create(POD, pod)

    async def claim(self, name: str, namespace: str = "default") -> Object:
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        claim = meta.new(PERSISTENT_VOLUME_CLAIM, name, namespace, spec=spec)
        return await self.client.create(PERSISTENT_VOLUME_CLAIM, claim)

    async def bound(self, name: str, namespace: str = "default") -> Path:
        """Create a claim; its folder once it is bound."""
        claim = await self.claim(name, namespace)
        ready = asyncio.Event()

        def changed(_type: EventType, each: Object) -> None:
            if meta.uid(each) == meta.uid(claim) and meta.dig(each, "status.phase") == "Bound":
                ready.set()

        self.informers.of(PERSISTENT_VOLUME_CLAIM).subscribe(changed)
        async with asyncio.timeout(DEADLINE_SECONDS):
            await ready.wait()
        return self.home.claim(namespace, name)

    async def until(
        self, name: str, holds: Callable[[Object], bool], namespace: str = "default"
    ) -> Object:
        """The pod once that holds."""
        found: asyncio.Future[Object] = asyncio.get_running_loop().create_future()
        last: list[Object] = []

        def changed(type_: EventType, pod: Object) -> None:
            if meta.name(pod) != name or meta.namespace(pod) != namespace or found.done():
                return
            last[:] = [pod]
            if holds(pod):
                found.set_result(pod)

        self.informers.of(POD).subscribe(changed)
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                return await found
        except TimeoutError:
            raise AssertionError(f"pod {name} never got there: {last}") from None

    async def gone(self, name: str, namespace: str = "default") -> None:
        """Wait until no pod has that name."""
        gone = asyncio.Event()

        def changed(type_: EventType, pod: Object) -> None:
            if type_ is EventType.DELETED and meta.name(pod) == name:
                gone.set()

        self.informers.of(POD).subscribe(changed)
        if self.informers.of(POD).get(name, namespace) is not None:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await gone.wait()

    async def phase(self, name: str, *phases: str, namespace: str = "default") -> Object:
        return await self.until(
            name, lambda pod: meta.dig(pod, "status.phase") in phases, namespace
        )

    async def finished(self, name: str, namespace: str = "default") -> Object:
        return await self.phase(name, "Succeeded", "Failed", namespace=namespace)

    async def log(self, pod: Object, **options: Any) -> str:
        pieces = [piece async for piece in self.logs.read(pod, LogOptions(**options))]
        return b"".join(pieces).decode()

    async def events(self, name: str, namespace: str = "default") -> list[tuple[str, str]]:
        found = await self.client.list(EVENT)
        return [
            (each["reason"], each["message"])
            for each in found.items
            if each["involvedObject"]["name"] == name
            and each["involvedObject"]["namespace"] == namespace
        ]

    async def event(self, name: str, reason: str, namespace: str = "default") -> str:
        """The message of an event, once it is there."""
        informer = self.informers.of(EVENT)
        found: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def changed(_type: EventType, event: Object) -> None:
            about = event["involvedObject"]
            if (about["name"], event["reason"]) == (name, reason) and not found.done():
                found.set_result(event["message"])

        informer.subscribe(changed)
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                return await found
        except TimeoutError:
            told = await self.events(name, namespace)
            raise AssertionError(f"no event {reason} of {name}: {told}") from None


async def stop(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def end_pods(runtime: Runtime, home: Home) -> None:
    """Kill what runs, and wait until it is gone."""
    running = [
        attempt
        for attempt in home.pods.glob("*/containers/*/*")
        if runtime.observe(attempt).state is ContainerState.RUNNING
    ]
    for attempt in running:
        await runtime.signal(attempt, signal.SIGKILL)
    await asyncio.gather(*(runtime.wait(attempt) for attempt in running))
    memory.remove(home)


@asynccontextmanager
async def open_cluster(
    root: Path,
    config: NodeConfig | None = None,
    runtime: Runtime | None = None,
    *,
    leave_pods: bool = False,
    clock: Clock | None = None,
) -> AsyncIterator[Cluster]:
    """Begin a cluster; at its end its pods end too, or are left as by a crash."""
    home = Home(root)
    home.root.mkdir(parents=True, exist_ok=True)
    home.run.mkdir(exist_ok=True)
    clock = clock or SystemClock()
    store = Store(home.objects)
    holder: list[Machine] = []
    admission = Admission(lambda *where: holder[0].lookup(*where), _NoAddresses())  # type: ignore[arg-type]  # see class
    machine = Machine(store, clock, admission)
    holder.append(machine)
    client = InProcessClient(machine)
    informers = Informers(client, clock)
    own = runtime is None
    runtime = runtime or await choose_runtime(home.run, f"test-{root.name}")
    issuer = TokenIssuer(ed25519.Ed25519PrivateKey.generate(), machine.lookup, clock)
    access = ClusterAccess(client, informers, issuer.issue)
    agent = NodeAgent(config or NodeConfig(images=IMAGES), home, access, runtime, clock)
    logs = LogFiles(home, runtime, clock)
    client.serve_logs(logs)
    cluster = Cluster(home, client, informers, runtime, logs)
    parts = [
        informers.run(),
        Scheduler(client, informers, clock).controller().run(),
        ClaimBinder(client, informers, clock, home).controller().run(),
        ClaimProtection(client, informers).controller(clock).run(),
        agent.run(),
    ]
    for namespace in ("default", "kube-node-lease"):
        try:
            await client.get(NAMESPACE, namespace)
        except NotFound:
            await cluster.namespace(namespace)
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        await cluster.registered()
        yield cluster
        for task in tasks:
            if task.done():
                task.result()
    finally:
        await stop(tasks)
        if not leave_pods:
            await end_pods(runtime, home)
        if own:
            await runtime.close()
        await store.close()
