"""What every pod's worker leans on: the collaborators of the node agent, and its events."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bessemer.base.clock import Clock
from bessemer.base.home import Home
from bessemer.cluster.kubelet.images.environments import Environments
from bessemer.cluster.kubelet.images.resolution import Images
from bessemer.cluster.kubelet.pods.addresses import Addresses
from bessemer.cluster.kubelet.pods.spares import Spares
from bessemer.cluster.kubelet.pods.threads import Threads
from bessemer.cluster.kubelet.runtime.base import Runtime
from bessemer.control.events import EventRecorder
from bessemer.kinds.kind import Object
from bessemer.kube.client import Client
from bessemer.kube.informer import Informers

_COMPONENT = "kubelet"
# Events are written beside the work: those of a moment, and so many at once, share a commit.
_GATHER_SECONDS = 0.05
_BATCH = 64


class IssueToken(Protocol):
    """Mints a service account's token for a pod (``TokenIssuer.issue``)."""

    def __call__(
        self, namespace: str, service_account: str, *, pod_name: str, pod_uid: str, seconds: int
    ) -> str:
        """A new token of the account, bound to the pod."""
        ...


@dataclass(frozen=True)
class ClusterAccess:
    """How the node reaches the cluster that it belongs to."""

    client: Client
    informers: Informers
    issue_token: IssueToken


@dataclass(frozen=True)
class NodeConfig:
    """This node: its name, its part of the loopback network, where pods find the API."""

    name: str = "bessemer"
    network: int = 77  # the X of 127.X.0.0/16
    host_ip: str = "127.0.0.1"
    api_host: str = "127.0.0.1"
    api_port: int = 6443
    max_pods: int = 1000
    platform_ports: tuple[int, ...] = ()  # the home's own, on 127.0.0.1
    unguarded: str = ""  # why pods may bind any address; empty: each has its own alone
    images: Images = field(default_factory=Images)  # what image references mean here
    unisolated: str = ""  # why pods run without a sandbox; empty: they have one


class Events:
    """Events of pods, written in the background: no pod waits for its events."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._recorder = EventRecorder(client, _COMPONENT, clock)
        self._clock = clock
        self._queue: asyncio.Queue[tuple[Object, str, str, str]] = asyncio.Queue()

    def tell(self, pod: Object, type_: str, reason: str, message: str) -> None:
        """Have an Event written soon."""
        self._queue.put_nowait((pod, type_, reason, message))

    async def run(self) -> None:
        """Write the queued Events, for ever."""
        while True:
            batch = [await self._queue.get()]
            await self._clock.sleep(_GATHER_SECONDS)
            while len(batch) < _BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            await asyncio.gather(*(self._recorder.record(*each) for each in batch))


@dataclass(frozen=True)
class KubeletDependencies:
    """What the workers of all pods share."""

    config: NodeConfig
    client: Client
    informers: Informers
    runtime: Runtime
    home: Home
    memory: Path | None  # the home's folder in memory
    spares: Spares
    clock: Clock
    environments: Environments
    addresses: Addresses
    events: Events
    issue_token: IssueToken
    allocatable: Mapping[str, str]
    threads: Threads
