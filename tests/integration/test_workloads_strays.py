"""The workloads' controllers over a real store, stopped and started at will; no node runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bessemer.base.clock import SystemClock
from bessemer.cluster.admission.chain import Admission
from bessemer.cluster.apiserver.machine import Machine
from bessemer.cluster.controllers.catalog import ControllerContext, Workloads
from bessemer.cluster.scheduler.reconciler import Scheduler
from bessemer.cluster.store.store import Store
from bessemer.kinds import meta
from bessemer.kinds.deployment import DEPLOYMENT
from bessemer.kinds.endpointslice import ENDPOINT_SLICE
from bessemer.kinds.event import EVENT
from bessemer.kinds.job import JOB
from bessemer.kinds.kind import Kind, Object
from bessemer.kinds.namespace import NAMESPACE
from bessemer.kinds.node import NODE
from bessemer.kinds.pod import POD
from bessemer.kinds.replicaset import REPLICA_SET
from bessemer.kinds.service import SERVICE
from bessemer.kinds.serviceaccount import SERVICE_ACCOUNT
from bessemer.kube.client import Client, DeleteOptions, EventType, Selection
from bessemer.kube.errors import ServiceUnavailable
from bessemer.kube.informer import Informers
from bessemer.kube.inprocess import InProcessClient

DEADLINE_SECONDS = 30.0
NS = "default"
SERVICE_LABEL = "kubernetes.io/service-name"


class _Addresses:
    """Services of these tests need none."""

    def take(self) -> str:
        return "127.77.0.1"

    def refusal(self, _address: str, _owner: tuple[str, str]) -> str:
        return ""


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    store = Store(tmp_path / "objects.db")
    holder: list[Machine] = []
    admission = Admission(lambda *where: holder[0].lookup(*where), _Addresses())  # type: ignore[arg-type]  # the two verbs that are called
    holder.append(Machine(store, SystemClock(), admission))
    yield holder[0]
    await store.close()


@pytest.fixture
async def client(machine: Machine) -> Client:
    one = InProcessClient(machine)
    await one.create(NAMESPACE, meta.new(NAMESPACE, NS))
    await one.create(SERVICE_ACCOUNT, meta.new(SERVICE_ACCOUNT, "default", NS))
    return one


@asynccontextmanager
async def running(*parts: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run them until the block ends, as a process does until it is killed."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def controllers(client: Client) -> AsyncIterator[None]:
    """All of the room's controllers."""
    clock = SystemClock()
    informers = Informers(client, clock)
    workloads = Workloads(ControllerContext(client, informers, clock, "no certificate"))
    async with running(workloads.run(), informers.run()):
        yield


async def until(client: Client, kind: Kind, holds: Callable[[list[Object]], bool]) -> list[Object]:
    """The kind's objects once that holds."""
    found = await client.list(kind, Selection(namespace=NS if kind.namespaced else ""))
    seen = {meta.uid(each): each for each in found.items}
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            changes = client.watch(kind, since=found.resource_version)
            while not holds(list(seen.values())):
                type_, obj = await anext(changes)
                if type_ is EventType.DELETED:
                    seen.pop(meta.uid(obj), None)
                else:
                    seen[meta.uid(obj)] = obj
    except TimeoutError:
        raise AssertionError(f"never held: {list(seen.values())}") from None
    return list(seen.values())


def pod_spec(**more: Any) -> Object:
    return {"containers": [{"name": "main", "image": "busybox"}], **more}


def job(name: str, **spec: Any) -> Object:
    template = {"spec": pod_spec(restartPolicy="Never")}
    return meta.new(JOB, name, NS, spec={"template": template, **spec})


def replicated(kind: Kind, name: str, app: str, replicas: int = 1, **spec: Any) -> Object:
    labels = {"app": app}
    template = {"metadata": {"labels": labels}, "spec": pod_spec()}
    selector = {"matchLabels": labels}
    wanted = {"replicas": replicas, "selector": selector, "template": template, **spec}
    return meta.new(kind, name, NS, spec=wanted, labels=labels)


async def test_pods_of_a_job_that_was_replaced_are_let_go(client: Client) -> None:
    """The controllers never saw it gone: a crash, or a delete and create in one breath."""
    async with controllers(client):
        first = await client.create(JOB, job("again"))
        (old,) = await until(client, POD, lambda pods: len(pods) == 1)
    await client.delete(JOB, "again", NS, DeleteOptions(propagation="Background"))
    second = await client.create(JOB, job("again"))

    async with controllers(client):
        (pod,) = await until(
            client, POD, lambda pods: len(pods) == 1 and meta.uid(pods[0]) != meta.uid(old)
        )

    assert meta.uid(first) != meta.uid(second)
    owner = meta.controller_of(pod)
    assert owner is not None
    assert owner["uid"] == meta.uid(second)


@pytest.mark.parametrize(
    ("owner", "more"),
    [
        (job("owner", parallelism=1, completions=2), {"parallelism": 2}),
        (replicated(REPLICA_SET, "owner", "owner"), {"replicas": 2}),
        (
            replicated(DEPLOYMENT, "owner", "owner"),
            {"template": {"metadata": {"annotations": {"version": "2"}}}},
        ),
    ],
    ids=lambda part: part.get("kind", ""),
)
async def test_what_only_goes_with_its_owner_is_not_run_by_it(
    client: Client, owner: Object, more: Object
) -> None:
    """A reference that is no controller's asks for garbage collection, and for nothing else."""
    kind = next(each for each in (JOB, REPLICA_SET, DEPLOYMENT) if each.kind == owner["kind"])
    made = REPLICA_SET if kind is DEPLOYMENT else POD
    async with controllers(client):
        stored = await client.create(kind, meta.copy(owner))
        await until(client, made, lambda found: len(found) == 1)
        helper = (
            replicated(REPLICA_SET, "helper", "helper", replicas=0)
            if made is REPLICA_SET
            else meta.new(POD, "helper", NS, spec=pod_spec(), labels={"app": "helper"})
        )
        helper["metadata"]["ownerReferences"] = [meta.owner_reference(stored, controller=False)]
        await client.create(made, helper)
        await client.patch(kind, "owner", NS, {"spec": more})

        found = await until(client, made, lambda found: len(found) == 3)
        (kept,) = [each for each in found if meta.name(each) == "helper"]
        assert kept["metadata"]["ownerReferences"] == helper["metadata"]["ownerReferences"]
        await client.delete(kind, "owner", NS, DeleteOptions(propagation="Background"))
        await until(client, made, lambda found: not found)


async def test_an_endpoint_leaves_each_service_that_its_pod_left(client: Client) -> None:
    for app in ("one", "two", "three"):
        spec = {"selector": {"app": app}, "ports": [{"port": 80}]}
        await client.create(SERVICE, meta.new(SERVICE, app, NS, spec=spec))
    await client.create(POD, meta.new(POD, "p", NS, spec=pod_spec(), labels={"app": "one"}))
    ready = {"podIP": "127.9.9.9", "conditions": [{"type": "Ready", "status": "True"}]}
    await client.patch(POD, "p", NS, {"status": ready}, subresource="status")

    def lists(slices: list[Object]) -> set[str]:
        return {meta.labels(each)[SERVICE_LABEL] for each in slices if each["endpoints"]}

    async with controllers(client):
        await until(client, ENDPOINT_SLICE, lambda slices: lists(slices) == {"one"})
        await client.patch(POD, "p", NS, {"metadata": {"labels": {"app": "two"}}})
        await until(client, ENDPOINT_SLICE, lambda slices: lists(slices) == {"two"})
        await client.patch(POD, "p", NS, {"metadata": {"labels": {"app": "three"}}})
        slices = await until(client, ENDPOINT_SLICE, lambda slices: lists(slices) == {"three"})
    addresses = [each["addresses"] for one in slices for each in one["endpoints"]]
    assert addresses == [["127.9.9.9"]]


def is_rolled_out(deployments: list[Object]) -> bool:
    (one,) = deployments
    told = meta.condition(one, "Progressing") or {}
    return told.get("reason") == "NewReplicaSetAvailable"


async def test_a_replicaset_made_later_is_adopted_by_its_deployment(client: Client) -> None:
    async with controllers(client):
        owner = await client.create(DEPLOYMENT, replicated(DEPLOYMENT, "web", "web", replicas=0))
        await until(client, DEPLOYMENT, is_rolled_out)
        await client.create(REPLICA_SET, replicated(REPLICA_SET, "stray", "web", replicas=0))

        await until(
            client,
            REPLICA_SET,
            lambda found: all(
                (meta.controller_of(each) or {}).get("uid") == meta.uid(owner) for each in found
            ),
        )
        events = await client.list(EVENT)
    assert not [each["message"] for each in events.items if each["reason"] == "ScalingReplicaSet"]


class _Between(InProcessClient):
    """Lets something happen in the moment before a pod is bound."""

    def __init__(self, machine: Machine, act: Callable[[str], Awaitable[None]]) -> None:
        super().__init__(machine)
        self._act = act

    async def patch(self, kind: Kind, name: str, *args: Any, **more: Any) -> Object:
        await self._act(name)
        return await super().patch(kind, name, *args, **more)


@asynccontextmanager
async def scheduler(
    machine: Machine, act: Callable[[str], Awaitable[None]]
) -> AsyncIterator[Informers]:
    """A scheduler and a node of one core; ``act`` is told the name of each pod to be bound."""
    clock, client = SystemClock(), _Between(machine, act)
    informers = Informers(client, clock)
    status = {"allocatable": {"cpu": "1", "memory": "1Gi", "pods": "9"}}
    await client.create(NODE, meta.new(NODE, "one", spec={}))
    await client.patch(NODE, "one", "", {"status": status}, subresource="status")
    async with running(informers.run(), Scheduler(client, informers, clock).controller().run()):
        yield informers


def core_pod(name: str, cores: int = 1) -> Object:
    """A pod that takes the whole node, or more."""
    spec = pod_spec()
    spec["containers"][0]["resources"] = {"requests": {"cpu": str(cores)}}
    return meta.new(POD, name, NS, spec=spec)


def is_refused(name: str) -> Callable[[list[Object]], bool]:
    """Whether the scheduler has told the pod that it doesn't fit."""
    return lambda pods: any(
        meta.name(each) == name
        and (meta.condition(each, "PodScheduled") or {}).get("status") == "False"
        for each in pods
    )


def is_bound(name: str) -> Callable[[list[Object]], bool]:
    return lambda pods: any(
        meta.name(each) == name and meta.dig(each, "spec.nodeName") == "one" for each in pods
    )


async def test_a_pod_that_goes_while_it_is_bound_leaves_its_room(
    machine: Machine, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    async def delete_first(name: str) -> None:
        if name == "first":
            await client.create(POD, core_pod("second"))
            await until(client, POD, is_refused("second"))
            gone = asyncio.Event()
            informers.of(POD).subscribe(
                lambda type_, _: gone.set() if type_ is EventType.DELETED else None
            )
            await client.delete(POD, "first", NS)
            await gone.wait()

    async with scheduler(machine, delete_first) as informers:
        await client.create(POD, core_pod("first"))
        await until(client, POD, is_bound("second"))

    assert "reconcile failed" not in caplog.text


async def test_room_of_a_bind_that_failed_is_given_to_another(
    machine: Machine, client: Client
) -> None:
    failed = asyncio.Event()

    async def fail_first(name: str) -> None:
        if name == "first" and not failed.is_set():
            await client.create(POD, core_pod("second"))
            await until(client, POD, is_refused("second"))
            # Once this one is refused the second was looked at again, for its own status.
            await client.create(POD, core_pod("huge", cores=2))
            await until(client, POD, is_refused("huge"))
            failed.set()
        if name == "first":
            raise ServiceUnavailable("the disk is full")

    async with scheduler(machine, fail_first):
        await client.create(POD, core_pod("first"))
        async with asyncio.timeout(DEADLINE_SECONDS):
            await failed.wait()
        await client.delete(POD, "first", NS)
        pods = await until(client, POD, is_bound("second"))
    assert not is_bound("huge")(pods)
