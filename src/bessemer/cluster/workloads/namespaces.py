"""Deleted namespaces: emptied in order, then finalized.

Source: k8s.io/kubernetes pkg/controller/namespace/deletion; pods end before what they use.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from bessemer.base.clock import Clock
from bessemer.control.reconcile import DONE, Key, Result
from bessemer.kube.client import Client, Selection
from bessemer.kube.errors import NotFound
from bessemer.kube.informer import Informers
from bessemer.resources import meta
from bessemer.resources.kind import Kind, Object
from bessemer.resources.namespace import NAMESPACE
from bessemer.resources.pod import POD

FINALIZER = "kubernetes"
_LOOK_AGAIN = 5.0  # seconds; what ends tells us before that


class NamespaceReconciler:
    """Empties a namespace that is being deleted, pods first."""

    def __init__(
        self, client: Client, informers: Informers, kinds: Iterable[Kind], clock: Clock
    ) -> None:
        self._client = client
        self._namespaces = informers.of(NAMESPACE)
        self._clock = clock
        spaced = [kind for kind in kinds if kind.namespaced]
        self._stages = ([POD], [kind for kind in spaced if kind.resource != POD.resource])

    async def reconcile(self, key: Key) -> Result:
        """Delete what is left of the first stage that is not empty."""
        namespace = self._namespaces.get(key.name)
        if namespace is None or not meta.is_deleting(namespace):
            return DONE
        finalizers = meta.dig(namespace, "spec.finalizers") or []
        if FINALIZER not in finalizers:
            return DONE
        for kinds in self._stages:
            left = [item for kind in kinds for item in await self._delete_all(kind, key.name)]
            if left:
                await self._tell(namespace, left)
                return Result(_LOOK_AGAIN)
        spec = {"finalizers": [entry for entry in finalizers if entry != FINALIZER]}
        await self._client.update(NAMESPACE, {**namespace, "spec": spec}, subresource="finalize")
        return DONE

    async def _delete_all(self, kind: Kind, namespace: str) -> list[Object]:
        """Ask for the end of all objects of a kind; the answer is what is still there."""
        selection = Selection(namespace=namespace)
        found = await self._client.list(kind, selection)
        asked = 0
        for obj in found.items:
            if meta.is_deleting(obj):
                continue
            asked += 1
            try:
                await self._client.delete(kind, meta.name(obj), namespace)
            except NotFound:
                continue
        return list((await self._client.list(kind, selection)).items if asked else found.items)

    async def _tell(self, namespace: Object, left: list[Object]) -> None:
        counts = Counter(obj["kind"] for obj in left)
        listed = ", ".join(f"{kind}: {number}" for kind, number in sorted(counts.items()))
        condition = {
            "type": "NamespaceContentRemaining",
            "status": "True",
            "reason": "SomeResourcesRemain",
            "message": f"Some resources are remaining: {listed}",
        }
        status = dict(namespace.get("status") or {})
        conditions = list(status.get("conditions") or ())
        known = meta.condition(namespace, condition["type"]) or {}
        if known.get("message") == condition["message"]:
            return
        status["phase"] = "Terminating"
        status["conditions"] = meta.merge_conditions(conditions, [condition], self._clock.now())
        await self._client.update(NAMESPACE, {**namespace, "status": status}, subresource="status")
