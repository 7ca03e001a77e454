"""Deleted namespaces: emptied in order, then finalized.

Source: k8s.io/kubernetes pkg/controller/namespace/deletion; pods end before what they use.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from bessemer.base.clock import Clock
from bessemer.control.reconcile import DONE, Key, Result
from bessemer.kinds import meta
from bessemer.kinds.kind import Kind, Object
from bessemer.kinds.namespace import NAMESPACE
from bessemer.kinds.pod import POD
from bessemer.kube.client import Client, Selection
from bessemer.kube.errors import NotFound
from bessemer.kube.informer import Informers

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

    def learn(self, kind: Kind) -> None:
        """Empty namespaces of that kind, too."""
        others = self._stages[1]
        if kind.namespaced and all(each.resource != kind.resource for each in others):
            others.append(kind)

    async def reconcile(self, key: Key) -> Result:
        """Delete what is left of the first stage that is not empty."""
        namespace = self._namespaces.get(key.name)
        if namespace is None or not meta.is_deleting(namespace):
            return DONE
        finalizers = meta.dig(namespace, "spec.finalizers") or []
        if FINALIZER not in finalizers:
            return DONE
        for kinds in self._stages:
            left = [(kind, o) for kind in kinds for o in await self._delete_all(kind, key.name)]
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

    async def _tell(self, namespace: Object, left: list[tuple[Kind, Object]]) -> None:
        status = {**(namespace.get("status") or {}), "phase": "Terminating"}
        current = list(status.get("conditions") or ())
        told = {entry["type"]: entry["message"] for entry in current}
        wanted = conditions(left)
        if all(told.get(entry["type"]) == entry["message"] for entry in wanted):
            return
        status["conditions"] = meta.merge_conditions(current, wanted, self._clock.now())
        await self._client.update(NAMESPACE, {**namespace, "status": status}, subresource="status")


def conditions(left: Iterable[tuple[Kind, Object]]) -> list[Object]:
    """What a namespace says of what is still in it. Pure.

    Source: namespace/deletion/status_condition_utils.go.
    """
    left = list(left)
    resources = Counter(f"{kind.plural}.{kind.group}" for kind, _ in left)
    finalizers = Counter(
        name for _, obj in left for name in obj["metadata"].get("finalizers") or ()
    )
    listed = ", ".join(f"{k} has {n} resource instances" for k, n in sorted(resources.items()))
    remaining = {
        "type": "NamespaceContentRemaining",
        "status": "True",
        "reason": "SomeResourcesRemain",
        "message": f"Some resources are remaining: {listed}",
    }
    holding: Object = {
        "type": "NamespaceFinalizersRemaining",
        "status": "False",
        "reason": "ContentHasNoFinalizers",
        "message": "All content-preserving finalizers finished",
    }
    if finalizers:
        held = ", ".join(f"{k} in {n} resource instances" for k, n in sorted(finalizers.items()))
        holding |= {
            "status": "True",
            "reason": "SomeFinalizersRemain",
            "message": f"Some content in the namespace has finalizers remaining: {held}",
        }
    return [remaining, holding]
