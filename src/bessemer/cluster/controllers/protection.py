"""Claims that pods use stay until the last of those pods is over.

Source: k8s.io/kubernetes pkg/controller/volume/pvcprotection.
"""

from __future__ import annotations

from collections.abc import Iterable

from bessemer.base.clock import Clock
from bessemer.control import finalizers
from bessemer.control import pods as podrules
from bessemer.control.controller import Controller
from bessemer.control.reconcile import DONE, Key, Result
from bessemer.control.sources import Source, own_key
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIM, PROTECTION
from bessemer.kinds.pod import POD
from bessemer.kube.client import Client, Selection
from bessemer.kube.informer import Informers


class ClaimProtection:
    """Puts the finalizer on claims, and takes it from a deleted one that no pod uses."""

    def __init__(self, client: Client, informers: Informers) -> None:
        self._client = client
        self._claims = informers.of(PERSISTENT_VOLUME_CLAIM)
        self._pods = informers.of(POD)

    def controller(self, clock: Clock) -> Controller:
        """The loop that runs this reconciler."""
        sources = [Source(self._claims, own_key), Source(self._pods, self._deleted_claims)]
        return Controller("pvc-protection", self, sources, clock)

    async def reconcile(self, key: Key) -> Result:
        """Look at one claim."""
        claim = self._claims.get(key.name, key.namespace)
        if claim is None:
            return DONE
        if not meta.is_deleting(claim):
            # One of an earlier release.
            await finalizers.add(self._client, PERSISTENT_VOLUME_CLAIM, claim, PROTECTION)
        elif finalizers.has(claim, PROTECTION) and not await self._is_used(key):
            await finalizers.remove(self._client, PERSISTENT_VOLUME_CLAIM, claim, PROTECTION)
        return DONE

    async def _is_used(self, key: Key) -> bool:
        if any(uses(pod, key.name) for pod in self._pods.list(key.namespace)):
            return True
        # The cache may be behind: a pod that it doesn't show yet may have got its node.
        found = await self._client.list(POD, Selection(namespace=key.namespace))
        return any(uses(pod, key.name) for pod in found.items)

    def _deleted_claims(self, pod: Object) -> Iterable[Key]:
        """The claims that may wait for this pod."""
        for name in _claim_names(pod):
            claim = self._claims.get(name, meta.namespace(pod))
            if claim is not None and meta.is_deleting(claim):
                yield Key(meta.namespace(pod), name)


def uses(pod: Object, claim: str) -> bool:
    """Whether a pod keeps its namespace's claim of that name. Pure.

    One without a node does not: none is given to it while the claim is being deleted.
    """
    return claim in _claim_names(pod) and bool(pod["spec"].get("nodeName")) and not _is_over(pod)


def _claim_names(pod: Object) -> list[str]:
    return [
        name
        for volume in pod["spec"].get("volumes") or ()
        if (name := meta.dig(volume, "persistentVolumeClaim.claimName"))
    ]


def _is_over(pod: Object) -> bool:
    """Whether nothing of the pod runs any more, as far as is told."""
    if podrules.is_finished(pod):
        return True
    statuses = meta.dig(pod, "status.containerStatuses") or ()
    return meta.is_deleting(pod) and all(
        "terminated" in (status.get("state") or {}) for status in statuses
    )
