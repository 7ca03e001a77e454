"""A capability, told to whoever installs it, gives rights to it, and runs it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.types import Receive, Scope, Send

from bessemer.artifacts.store import ArtifactStore
from bessemer.base.clock import Clock
from bessemer.database.database import Database
from bessemer.gateway.bootstrap import GatewayOptions
from bessemer.kinds.kind import Kind, Object
from bessemer.kube.client import Client
from bessemer.kube.informer import Informers
from bessemer.pipelines.leases import Replica
from bessemer.pipelines.steplogs import PodStepLogs
from bessemer.pipelines.trial import RefuseImage
from bessemer.web.guard import Guard

#: The namespace that KFP's clients take where they are told of none.
PIPELINES_NAMESPACE = "kubeflow"


@dataclass(frozen=True)
class Context:
    """What capabilities are made of: the cluster, as one identity sees it, and our own stores.

    Attributes:
        guard: who asks, and whether he may.
        replica: which of the processes this is that share the cluster and the database.
        step_logs: what steps wrote, their pods' or the kept copies.
        artifacts: where runs' outputs are kept, and models are found.
        refuse_image: why an image can't be run by the cluster; "" if it can, or nobody knows.
        gateway: where models are reached, and who may reach them.
        domain: models answer to ``<name>-<namespace>.<domain>`` too.
    """

    client: Client
    informers: Informers
    clock: Clock
    database: Database
    guard: Guard
    replica: Replica
    step_logs: PodStepLogs
    artifacts: ArtifactStore
    refuse_image: RefuseImage
    gateway: GatewayOptions
    domain: str


@dataclass(frozen=True)
class Rights:
    """What those who may view or edit a namespace may do with resources of one API group.

    Attributes:
        edited: what editors write, and viewers read.
        read: what both only read: others write it.
        verbs: what editors may do with ``edited`` beside reading and writing.
    """

    group: str
    edited: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()


class Face(Protocol):
    """An HTTP face that says itself which paths are its own."""

    def matches(self, path: str) -> bool:
        """Whether a request of that path is for this app."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request (ASGI)."""
        ...


@dataclass(frozen=True)
class Served:
    """A face, and where it is found.

    Attributes:
        prefixes: of paths on the API server's own port.
        service: namespace and name of the Service as which the API server's proxy knows it.
    """

    face: Face
    prefixes: tuple[str, ...]
    service: tuple[str, str]


@dataclass(frozen=True)
class Opened:
    """A capability that can be run.

    Attributes:
        tasks: what has to run for ever, by name.
    """

    tasks: Mapping[str, Callable[[], Coroutine[Any, Any, None]]]
    served: tuple[Served, ...] = ()


@dataclass(frozen=True)
class Capability:
    """One thing that Bessemer can do.

    Attributes:
        kinds: its own kinds, which no Kubernetes has by itself.
        objects: what is to be in every cluster for it; made where missing, and brought up to
            this program's version in the parts that ``_UPDATED`` of ``app.bootstrap`` names.
        open: makes it from what a cluster gives.
    """

    name: str
    open: Callable[[Context], Opened]
    kinds: tuple[Kind, ...] = ()
    rights: tuple[Rights, ...] = ()
    objects: tuple[tuple[Kind, Object], ...] = field(default=())
