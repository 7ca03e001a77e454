"""How a namespace comes to its claim of artifacts, over a real API: made, bound, made again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from bessemer.artifacts.claim import CLAIM, ClaimStore
from bessemer.artifacts.store import NotReady
from bessemer.base.clock import SystemClock
from bessemer.cluster.admission.chain import Admission
from bessemer.cluster.admission.services import Addresses
from bessemer.cluster.apiserver.machine import Machine, make_lookup
from bessemer.cluster.store.store import Store
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.namespace import NAMESPACE
from bessemer.kinds.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIM
from bessemer.kube.client import Client
from bessemer.kube.errors import NotFound
from bessemer.kube.inprocess import InProcessClient

from .conftest import TEAM


class Waiting(SystemClock):
    """Time goes only where somebody waits; meanwhile something happens in the cluster."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        if self.meanwhile is not None:
            await self.meanwhile()


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    store = Store(tmp_path / "objects.db")
    admission = Admission(make_lookup(store), Addresses("127.77.0.0/17", list))
    client = InProcessClient(Machine(store, SystemClock(), admission))
    await client.create(NAMESPACE, meta.new(NAMESPACE, TEAM))
    yield client
    await store.close()


@pytest.fixture
def clock() -> Waiting:
    return Waiting()


async def get(client: Client) -> Object:
    return await client.get(PERSISTENT_VOLUME_CLAIM, CLAIM, TEAM)


async def bind(client: Client) -> None:
    claim = {**await get(client), "status": {"phase": "Bound"}}
    await client.update(PERSISTENT_VOLUME_CLAIM, claim, subresource="status")


async def test_a_claim_is_made_once_and_waited_for(client: Client, clock: Waiting) -> None:
    store = ClaimStore(client, clock, Path("/volumes"))
    clock.meanwhile = lambda: bind(client)
    await store.prepare(TEAM)
    made = await get(client)
    clock.meanwhile = None
    await store.prepare(TEAM)

    assert made["spec"]["accessModes"] == ["ReadWriteMany"]
    assert meta.uid(await get(client)) == meta.uid(made)


async def test_a_claim_that_somebody_deleted_is_made_again(client: Client, clock: Waiting) -> None:
    store = ClaimStore(client, clock, Path("/volumes"))
    clock.meanwhile = lambda: bind(client)
    await store.prepare(TEAM)
    made = await get(client)
    # The first finalizer that stands keeps it: pods use it.
    held = meta.copy(made)
    held["metadata"]["finalizers"] = ["example.dev/held"]
    await client.update(PERSISTENT_VOLUME_CLAIM, held)
    await client.delete(PERSISTENT_VOLUME_CLAIM, CLAIM, TEAM)
    with pytest.raises(NotReady, match="is being deleted; a new one is made when it has gone"):
        await store.prepare(TEAM)

    free = meta.copy(await get(client))
    free["metadata"]["finalizers"] = []
    await client.update(PERSISTENT_VOLUME_CLAIM, free)
    with pytest.raises(NotFound):
        await get(client)
    await store.prepare(TEAM)

    assert meta.uid(await get(client)) != meta.uid(made)


async def test_a_claim_that_is_never_bound_is_waited_for_ten_seconds(
    client: Client, clock: Waiting
) -> None:
    store = ClaimStore(client, clock, Path("/volumes"))

    with pytest.raises(NotReady, match="not after 10 s; see its Events"):
        await store.prepare(TEAM)
    assert 10.0 <= clock.seconds < 10.1


async def test_without_its_namespace_there_is_no_claim(client: Client, clock: Waiting) -> None:
    with pytest.raises(NotFound):
        await ClaimStore(client, clock, Path("/volumes")).prepare("nowhere")
