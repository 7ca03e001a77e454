"""Pods that nobody else cleans up: ended ones beyond a number, and those of a node that is gone.

Source: k8s.io/kubernetes pkg/controller/podgc.
"""

from __future__ import annotations

from collections.abc import Iterable

from bessemer.cluster.workloads import pods as podrules
from bessemer.control.reconcile import DONE, Key, Result
from bessemer.kube.client import Client, DeleteOptions
from bessemer.kube.errors import Conflict, NotFound
from bessemer.kube.informer import Informers
from bessemer.resources import meta
from bessemer.resources.kind import Object
from bessemer.resources.node import NODE
from bessemer.resources.pod import POD

KEY = Key("", "pods")  # the only key: all pods at once
KEPT = 12_500  # ended pods, as upstream


class PodGarbageCollector:
    """Deletes at once, without a grace period: nothing of these pods runs."""

    def __init__(self, client: Client, informers: Informers, kept: int = KEPT) -> None:
        self._client = client
        self._pods = informers.of(POD)
        self._nodes = informers.of(NODE)
        self._kept = kept

    async def reconcile(self, key: Key) -> Result:
        """One pass over all pods."""
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


def is_worth_a_look(pod: Object) -> bool:
    """Whether this pod's change can give us something to do."""
    return podrules.is_finished(pod) or (
        meta.is_deleting(pod) and not meta.dig(pod, "spec.nodeName")
    )
