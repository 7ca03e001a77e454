"""The room's controllers, joined to their informers: what ``app`` runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bessemer.base.clock import Clock
from bessemer.cluster.controllers import podgc
from bessemer.cluster.controllers.deployment.reconciler import DeploymentReconciler
from bessemer.cluster.controllers.endpoints.reconciler import EndpointsReconciler
from bessemer.cluster.controllers.essentials import EssentialsReconciler
from bessemer.cluster.controllers.garbage.reconciler import GarbageCollector
from bessemer.cluster.controllers.job.reconciler import JobReconciler, OrphanReconciler
from bessemer.cluster.controllers.namespaces import NamespaceReconciler
from bessemer.cluster.controllers.protection import ClaimProtection
from bessemer.cluster.controllers.replicaset.reconciler import ReplicaSetReconciler
from bessemer.control import adoption
from bessemer.control.controller import Controller
from bessemer.control.events import EventRecorder
from bessemer.control.reconcile import Key
from bessemer.control.sources import Source, own_key, owner_key
from bessemer.control.writer import Writer
from bessemer.kinds import meta
from bessemer.kinds.catalog import KINDS
from bessemer.kinds.configmap import CONFIG_MAP
from bessemer.kinds.deployment import DEPLOYMENT
from bessemer.kinds.endpointslice import ENDPOINT_SLICE, SERVICE_NAME
from bessemer.kinds.event import EVENT
from bessemer.kinds.job import JOB
from bessemer.kinds.kind import Kind, Object
from bessemer.kinds.namespace import NAMESPACE
from bessemer.kinds.node import NODE
from bessemer.kinds.pod import POD
from bessemer.kinds.replicaset import REPLICA_SET
from bessemer.kinds.service import SERVICE
from bessemer.kinds.serviceaccount import SERVICE_ACCOUNT
from bessemer.kube.client import Client
from bessemer.kube.informer import Informers


@dataclass(frozen=True)
class ControllerContext:
    """What the controllers are made of."""

    client: Client
    informers: Informers
    clock: Clock
    ca_pem: str  # of the API server, for kube-root-ca.crt


class Workloads:
    """All of Kubernetes' own controllers that we have."""

    def __init__(self, parts: ControllerContext) -> None:
        self._parts = parts
        kinds = (DEPLOYMENT, REPLICA_SET, JOB, POD, ENDPOINT_SLICE)
        self._writer = Writer(parts.client, parts.informers, kinds)
        self._collector = GarbageCollector(
            parts.client, parts.informers, [kind for kind in KINDS if kind is not EVENT]
        )
        self._emptier = NamespaceReconciler(parts.client, parts.informers, KINDS, parts.clock)
        self._controllers = [
            self._replicasets(),
            self._deployments(),
            self._jobs(),
            self._job_orphans(),
            self._endpoints(),
            self._namespaces(),
            self._essentials(),
            self._podgc(),
            ClaimProtection(parts.client, parts.informers).controller(parts.clock),
        ]

    def learn(self, kinds: Iterable[Kind]) -> None:
        """Look after the objects of kinds that were learned, as after those that always were."""
        for kind in kinds:
            self._emptier.learn(kind)
            self._collector.learn(kind)

    async def run(self) -> None:
        """Reconcile until cancelled; an error that ends one ends all."""
        async with asyncio.TaskGroup() as tasks:
            for controller in self._controllers:
                tasks.create_task(controller.run(), name=controller.name)
            await self._collector.wait_synced()
            collector = self._garbage()
            tasks.create_task(collector.run(), name=collector.name)

    def _recorder(self, component: str) -> EventRecorder:
        return EventRecorder(self._parts.client, component, self._parts.clock)

    def _source(self, kind: Kind, keys: Callable[[Object], Iterable[Key]]) -> Source:
        return Source(self._parts.informers.of(kind), keys)

    def _replicasets(self) -> Controller:
        parts = self._parts
        reconciler = ReplicaSetReconciler(
            self._writer, parts.informers, self._recorder("replicaset-controller"), parts.clock
        )
        sources = [
            self._source(REPLICA_SET, own_key),
            self._source(POD, owner_key(REPLICA_SET)),
            self._source(POD, _selecting(parts.informers, REPLICA_SET)),
        ]
        return Controller("replicaset", reconciler, sources, parts.clock, workers=8)

    def _deployments(self) -> Controller:
        parts = self._parts
        reconciler = DeploymentReconciler(
            self._writer, parts.informers, self._recorder("deployment-controller"), parts.clock
        )
        sources = [
            self._source(DEPLOYMENT, own_key),
            self._source(REPLICA_SET, owner_key(DEPLOYMENT)),
            self._source(REPLICA_SET, _selecting(parts.informers, DEPLOYMENT)),
            self._source(POD, self._deployment_of),
        ]
        return Controller("deployment", reconciler, sources, parts.clock, workers=8)

    def _deployment_of(self, pod: Object) -> Iterable[Key]:
        """Recreate waits for old pods' end: the Deployment above a pod's ReplicaSet."""
        namespace = meta.namespace(pod)
        for key in owner_key(REPLICA_SET)(pod):
            owner = self._parts.informers.of(REPLICA_SET).get(key.name, namespace)
            if owner is not None:
                yield from owner_key(DEPLOYMENT)(owner)

    def _jobs(self) -> Controller:
        parts = self._parts
        reconciler = JobReconciler(
            self._writer, parts.informers, self._recorder("job-controller"), parts.clock
        )
        sources = [
            self._source(JOB, own_key),
            self._source(POD, owner_key(JOB)),
            self._source(POD, _selecting(parts.informers, JOB)),
        ]
        return Controller("job", reconciler, sources, parts.clock, workers=8)

    def _job_orphans(self) -> Controller:
        reconciler = OrphanReconciler(self._writer, self._parts.informers)
        sources = [
            self._source(POD, reconciler.find_keys),
            self._source(JOB, reconciler.find_left),
        ]
        return Controller("job-orphans", reconciler, sources, self._parts.clock)

    def _endpoints(self) -> Controller:
        reconciler = EndpointsReconciler(self._writer, self._parts.informers)
        sources = [
            self._source(SERVICE, own_key),
            self._source(POD, reconciler.services_of),
            self._source(ENDPOINT_SLICE, _service_of),
        ]
        return Controller("endpoints", reconciler, sources, self._parts.clock, workers=4)

    def _namespaces(self) -> Controller:
        parts = self._parts
        reconciler = self._emptier
        namespaces = parts.informers.of(NAMESPACE)

        def ending(obj: Object) -> Iterable[Key]:
            namespace = namespaces.get(meta.namespace(obj))
            if namespace is not None and meta.is_deleting(namespace):
                yield Key("", meta.namespace(obj))

        spaced = [kind for kind in KINDS if kind.namespaced and kind is not EVENT]
        sources = [self._source(NAMESPACE, own_key)]
        sources += [self._source(kind, ending) for kind in spaced]
        return Controller("namespace", reconciler, sources, parts.clock)

    def _essentials(self) -> Controller:
        parts = self._parts
        reconciler = EssentialsReconciler(parts.client, parts.informers, parts.ca_pem)
        sources = [
            self._source(NAMESPACE, own_key),
            self._source(SERVICE_ACCOUNT, _namespace_key),
            self._source(CONFIG_MAP, _namespace_key),
        ]
        return Controller("essentials", reconciler, sources, parts.clock)

    def _podgc(self) -> Controller:
        parts = self._parts
        reconciler = podgc.PodGarbageCollector(parts.client, parts.informers, parts.clock)
        sources = [
            self._source(NODE, lambda _node: [podgc.LOST]),
            self._source(POD, podgc.find_keys),
        ]
        return Controller("podgc", reconciler, sources, parts.clock)

    def _garbage(self) -> Controller:
        sources = self._collector.sources()
        controller = Controller("garbage", self._collector, sources, self._parts.clock, workers=8)
        self._collector.start(controller.enqueue)
        return controller


def _namespace_key(obj: Object) -> Iterable[Key]:
    return [Key("", meta.namespace(obj))]


def _service_of(endpoint_slice: Object) -> Iterable[Key]:
    name = meta.labels(endpoint_slice).get(SERVICE_NAME)
    return [Key(meta.namespace(endpoint_slice), name)] if name else []


def _selecting(informers: Informers, kind: Kind) -> Callable[[Object], Iterable[Key]]:
    """Who may adopt an object that nobody controls: the owners whose selector picks it."""
    owners = informers.of(kind)

    def keys(obj: Object) -> Iterable[Key]:
        if meta.controller_of(obj) is not None:
            return
        for owner in owners.list(meta.namespace(obj)):
            if adoption.matches(owner["spec"].get("selector"), meta.labels(obj)):
                yield Key(meta.namespace(owner), meta.name(owner))

    return keys
