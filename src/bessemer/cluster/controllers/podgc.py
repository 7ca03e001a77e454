"""Pods that nobody else cleans up: ended ones beyond a number, and those of a node that is gone.

Source: k8s.io/kubernetes pkg/controller/podgc.
"""

from __future__ import annotations

from collections.abc import Iterable

from bessemer.base.clock import Clock
from bessemer.control import pods as podrules
from bessemer.control.reconcile import DONE, Key, Result
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.node import NODE
from bessemer.kinds.pod import POD
from bessemer.kube.client import Client, DeleteOptions
from bessemer.kube.errors import Conflict, NotFound
from bessemer.kube.informer import Informers

# Both mean all pods at once.
LOST = Key("", "lost")  # nobody else will ever end one: look now
ENDED = Key("", "ended")  # there may be too many of these: look now and then
KEPT = 12_500  # ended pods, as upstream
PERIOD_SECONDS = 20.0  # between looks for too many, as upstream


class PodGarbageCollector:
    """Deletes at once, without a grace period: nothing of these pods runs."""

    def __init__(
        self, client: Client, informers: Informers, clock: Clock, kept: int = KEPT
    ) -> None:
        self._client = client
        self._clock = clock
        self._due = clock.monotonic()
        self._pods = informers.of(POD)
        self._nodes = informers.of(NODE)
        self._kept = kept

    async def reconcile(self, key: Key) -> Result:
        """One pass over all pods; for each pod that ends it would cost too much."""
        now = self._clock.monotonic()
        if key == ENDED and now < self._due:
            return Result(self._due - now)
        self._due = now + PERIOD_SECONDS
        nodes = {meta.name(node) for node in self._nodes.list()}
        for pod in choose(self._pods.list(), nodes, self._kept):
            options = DeleteOptions(grace_seconds=0, uid=meta.uid(pod))
            try:
                await self._client.delete(POD, meta.name(pod), meta.namespace(pod), options)
            except (NotFound, Conflict):
                continue
        return DONE


def choose(pods: Iterable[Object], nodes: set[str], kept: int) -> list[Object]:
    """The pods to delete. Pure."""
    ended, lost = [], []
    for pod in pods:
        node = meta.dig(pod, "spec.nodeName")
        if (node and node not in nodes and nodes) or (meta.is_deleting(pod) and not node):
            lost.append(pod)
        elif podrules.is_finished(pod) and not meta.is_deleting(pod):
            ended.append(pod)
    ended.sort(key=lambda pod: pod["metadata"].get("creationTimestamp", ""))
    return lost + ended[: max(0, len(ended) - kept)]


def find_keys(pod: Object) -> list[Key]:
    """Which look a pod's change calls for: at lost pods, at too many ended ones, or none."""
    if meta.is_deleting(pod) and not meta.dig(pod, "spec.nodeName"):
        return [LOST]
    return [ENDED] if podrules.is_finished(pod) else []
