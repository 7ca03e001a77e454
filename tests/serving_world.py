"""The serving controller on a real store, without pods: a test plays the Deployment's part."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bessemer.artifacts.claim import ClaimStore
from bessemer.base.clock import SystemClock
from bessemer.base.home import Home
from bessemer.cluster.apiserver.machine import Machine
from bessemer.cluster.store.store import Store
from bessemer.kinds import meta, servingruntime
from bessemer.kinds.endpointslice import ENDPOINT_SLICE
from bessemer.kinds.inferenceservice import INFERENCE_SERVICE
from bessemer.kinds.kind import Kind, Object
from bessemer.kinds.namespace import NAMESPACE, SYSTEM_NAMESPACE
from bessemer.kinds.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIM
from bessemer.kinds.servingruntime import SERVING_RUNTIME
from bessemer.kube.client import Client, EventType
from bessemer.kube.errors import NotFound
from bessemer.kube.informer import Informers
from bessemer.kube.inprocess import InProcessClient
from bessemer.serving.manifests import Address
from bessemer.serving.reconciler import make_controller

DEADLINE_SECONDS = 20.0
TEAM = "team"
URI = "pvc://models/iris"


@dataclass
class World:
    """What a test acts on."""

    client: Client
    informers: Informers
    changed: asyncio.Event

    async def create_claim(self, name: str = "models") -> None:
        spec = {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        }
        claim = meta.new(PERSISTENT_VOLUME_CLAIM, name, TEAM, spec=spec)
        await self.client.create(PERSISTENT_VOLUME_CLAIM, claim)

    async def declare(self, name: str, **model: Any) -> Object:
        """Create an InferenceService of an sklearn model."""
        model = {"modelFormat": {"name": "sklearn"}, "storageUri": URI, **model}
        spec = {"predictor": {"model": model}}
        isvc = meta.new(INFERENCE_SERVICE, name, TEAM, spec=spec)
        return await self.client.create(INFERENCE_SERVICE, isvc)

    async def play_ready(self, revision: str) -> None:
        """An endpoint of that revision, as its pod would be once its model is loaded."""
        labels = {"kubernetes.io/service-name": revision}
        endpoints = [{"addresses": ["127.0.0.9"], "conditions": {"ready": True}}]
        await self.client.create(
            ENDPOINT_SLICE,
            meta.new(
                ENDPOINT_SLICE, f"{revision}-1", TEAM, labels=labels, addressType="IPv4",
                ports=[{"name": "http", "port": 8080, "protocol": "TCP"}], endpoints=endpoints,
            ),
        )  # fmt: skip

    async def find(self, kind: Kind, name: str) -> Object | None:
        try:
            return await self.client.get(kind, name, TEAM)
        except NotFound:
            return None

    async def until(self, kind: Kind, name: str, holds: Callable[[Object], Any] = bool) -> Object:
        """The object, once it is there and that holds of it."""
        informer = self.informers.of(kind)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                self.changed.clear()
                found = informer.get(name, TEAM)
                if found is not None and holds(found):
                    return found
                await self.changed.wait()

    async def until_gone(self, kind: Kind, name: str) -> None:
        """Return when there is no such object."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                self.changed.clear()
                if await self.find(kind, name) is None:
                    return
                await self.changed.wait()

    async def until_told(self, name: str, reason: str, type_: str = "PredictorReady") -> Object:
        """The InferenceService's condition, once it has that reason."""

        def holds(isvc: Object) -> bool:
            return (meta.condition(isvc, type_) or {}).get("reason") == reason

        isvc = await self.until(INFERENCE_SERVICE, name, holds)
        return meta.condition(isvc, type_) or {}


@asynccontextmanager
async def open_world(
    tmp_path: Path, kinds: tuple[Kind, ...], make_client: Callable[[Machine], Client]
) -> AsyncIterator[World]:
    """A store and the serving controller; changes of those kinds can be waited for."""
    store = Store(tmp_path / "objects.db")
    clock = SystemClock()
    machine = Machine(store, clock)
    client = InProcessClient(machine)
    for namespace in (TEAM, SYSTEM_NAMESPACE):
        await client.create(NAMESPACE, meta.new(NAMESPACE, namespace))
    for runtime in servingruntime.shipped(SYSTEM_NAMESPACE):
        await client.create(SERVING_RUNTIME, runtime)
    informers = Informers(client, clock)
    world = World(client, informers, asyncio.Event())

    def note(_type: EventType, _obj: Object) -> None:
        world.changed.set()

    for kind in kinds:
        informers.of(kind).subscribe(note)
    controller = make_controller(
        make_client(machine),
        informers,
        clock,
        Address("http://gateway", "localhost"),
        ClaimStore(client, clock, Home(tmp_path).volumes),
    )
    tasks = [asyncio.create_task(informers.run()), asyncio.create_task(controller.run())]
    try:
        yield world
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await store.close()
