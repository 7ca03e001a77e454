"""The node agent: gives each pod bound to this node a worker, and adopts what already runs."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping

from bessemer.base import logs, trees
from bessemer.base.clock import Clock
from bessemer.base.home import Home
from bessemer.base.logs import fields
from bessemer.cluster.kubelet.images.environments import Environments
from bessemer.cluster.kubelet.pods import registration
from bessemer.cluster.kubelet.pods.addresses import Addresses
from bessemer.cluster.kubelet.pods.dependencies import (
    ClusterAccess,
    Events,
    KubeletDependencies,
    NodeConfig,
)
from bessemer.cluster.kubelet.pods.evictor import Evictor
from bessemer.cluster.kubelet.pods.registration import Registration
from bessemer.cluster.kubelet.pods.spares import Spares
from bessemer.cluster.kubelet.pods.threads import Threads
from bessemer.cluster.kubelet.pods.worker import PodWorker
from bessemer.cluster.kubelet.runtime.base import ContainerState, Runtime
from bessemer.cluster.kubelet.volumes import memory, variables
from bessemer.kinds import meta
from bessemer.kinds.configmap import CONFIG_MAP
from bessemer.kinds.kind import Object
from bessemer.kinds.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIM
from bessemer.kinds.pod import POD, has_ended
from bessemer.kinds.secret import SECRET
from bessemer.kinds.service import SERVICE
from bessemer.kube.client import EventType

_log = logs.get(__name__)


class NodeAgent:
    """Runs this node's pods."""

    def __init__(
        self,
        config: NodeConfig,
        home: Home,
        access: ClusterAccess,
        runtime: Runtime,
        clock: Clock,
    ) -> None:
        client, informers = access.client, access.informers
        allocatable = registration.allocatable(config, home)
        self._services = KubeletDependencies(
            config=config,
            client=client,
            informers=informers,
            runtime=runtime,
            home=home,
            memory=memory.make(home),
            spares=Spares(home.spares, runtime),
            clock=clock,
            environments=Environments(home, clock),
            addresses=Addresses(config.network),
            events=Events(client, clock),
            issue_token=access.issue_token,
            allocatable=allocatable,
            threads=Threads(allocatable),
        )
        self._registration = Registration(client, clock, config, allocatable)
        self._workers: dict[str, PodWorker] = {}
        self._references: dict[str, set[tuple[str, str]]] = {}  # uid -> (kind, name)
        self._evictor = Evictor(
            home, self._registration, client, self._services.events, clock,
            lambda: [worker.pod for worker in self._workers.values()],
        )  # fmt: skip
        self._pods = informers.of(POD)
        self._objects = {"ConfigMap": informers.of(CONFIG_MAP), "Secret": informers.of(SECRET)}
        self._claims = informers.of(PERSISTENT_VOLUME_CLAIM)
        self._names = informers.of(SERVICE)

    async def run(self) -> None:
        """Run pods, for ever; what runs when this ends goes on running."""
        await self._registration.register()
        for informer in (self._pods, self._claims, self._names, *self._objects.values()):
            await informer.wait_synced()
        await self._remove_strays()
        for kind, informer in self._objects.items():
            informer.subscribe(self._changed(kind))
        self._claims.subscribe(self._claim_changed)
        self._pods.subscribe(self._pod_changed)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._services.events.run())
                tasks.create_task(self._registration.run())
                tasks.create_task(self._services.spares.run())
                tasks.create_task(self._evictor.run())
        finally:
            await asyncio.gather(*(worker.stop() for worker in self._workers.values()))
            await self._services.environments.close()
            memory.remove_if_empty(self._services.home)

    def _pod_changed(self, type_: EventType, pod: Object) -> None:
        if pod["spec"].get("nodeName") != self._services.config.name:
            return
        uid = meta.uid(pod)
        worker = self._workers.get(uid)
        if type_ is EventType.DELETED:
            if worker is None:
                worker = self._add(pod)
            worker.gone()
            return
        if worker is not None:
            worker.update(pod)
        elif meta.is_deleting(pod) or not has_ended(pod):
            self._add(pod).wake()

    def _add(self, pod: Object) -> PodWorker:
        worker = PodWorker(self._services, pod, self._ended)
        self._workers[worker.uid] = worker
        # Asked for at each change of any ConfigMap or Secret; none of it can change in a pod.
        self._references[worker.uid] = variables.references(pod)
        return worker

    def _ended(self, worker: PodWorker) -> None:
        self._workers.pop(worker.uid, None)
        self._references.pop(worker.uid, None)

    def _changed(self, kind: str) -> Callable[[EventType, Object], None]:
        def changed(type_: EventType, obj: Object) -> None:
            if type_ is EventType.DELETED:
                return
            namespace, name = meta.namespace(obj), meta.name(obj)
            for worker in self._workers.values():
                references = self._references.get(worker.uid, ())
                if meta.namespace(worker.pod) == namespace and (kind, name) in references:
                    worker.refresh()

        return changed

    def _claim_changed(self, _type: EventType, claim: Object) -> None:
        for worker in self._workers.values():
            if meta.namespace(worker.pod) == meta.namespace(claim):
                worker.retry()

    async def _remove_strays(self) -> None:
        """Kill and delete what belongs to no pod any more; keep the addresses of the others."""
        known = {meta.uid(pod): pod for pod in self._pods.list()}
        self._remove_stray_memory(known)
        root = self._services.home.pods
        if not root.is_dir():
            return
        for folder in list(root.iterdir()):
            if folder.name in known:
                # Before any new pod takes one: what runs keeps its address.
                if not has_ended(known[folder.name]):
                    self._services.addresses.adopt_pod(folder.name, folder)
                continue
            _log.info("stray pod removed", extra=fields(uid=folder.name))
            runtime = self._services.runtime
            for attempt in folder.glob("containers/*/*"):
                if runtime.observe(attempt).state is ContainerState.RUNNING:
                    await runtime.signal(attempt, signal.SIGKILL)
                    await runtime.wait(attempt)
            await asyncio.to_thread(trees.remove, folder)

    def _remove_stray_memory(self, known: Mapping[str, Object]) -> None:
        """Forget the Secrets of pods that ended while no agent looked."""
        root = self._services.memory
        for folder in root.iterdir() if root else ():
            pod = known.get(folder.name)
            if pod is None or has_ended(pod):
                trees.remove(folder)
