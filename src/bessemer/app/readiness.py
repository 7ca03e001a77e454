"""When a start is over: the node can run pods, and Envoy takes requests."""

from __future__ import annotations

import asyncio

from bessemer.app.ports import HOST
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.namespace import SYSTEM_NAMESPACE
from bessemer.kinds.node import NODE
from bessemer.kinds.pod import POD
from bessemer.kube.client import EventType
from bessemer.kube.informer import Informers

_RETRY = 0.02  # seconds between two knocks at a port that nobody opened yet


class Readiness:
    """Watches the node and the gateway's port."""

    def __init__(self, informers: Informers, node: str, gateway: int) -> None:
        self._node_name = node
        self._gateway_port = gateway
        self._node = asyncio.Event()
        self._gateway = asyncio.Event()
        informers.of(NODE).subscribe(self._on_node)
        self._pods = informers.of(POD)

    def _on_node(self, _event: EventType, node: Object) -> None:
        ready = meta.condition(node, "Ready") or {}
        if meta.name(node) == self._node_name and ready.get("status") == "True":
            self._node.set()

    async def wait(self) -> None:
        """Return when both are ready."""
        await asyncio.gather(self._node.wait(), self._knock())

    async def _knock(self) -> None:
        # The port belongs to another process: there is no event to wait for.
        while True:
            try:
                _, writer = await asyncio.open_connection(HOST, self._gateway_port)
            except OSError:
                await asyncio.sleep(_RETRY)
                continue
            writer.close()
            self._gateway.set()
            return

    def missing(self) -> str:
        """What is not ready, with what its pods say."""
        if not self._node.is_set():
            return "the node"
        reasons = {reason for pod in self._pods.list(SYSTEM_NAMESPACE) if (reason := _why(pod))}
        return "; ".join(["the gateway", *sorted(reasons)])


def _why(pod: Object) -> str:
    for status in meta.dig(pod, "status.containerStatuses") or ():
        waiting = meta.dig(status, "state.waiting")
        if waiting:
            return f"{meta.name(pod)}: {waiting.get('reason')}: {waiting.get('message', '')}"
    return ""
