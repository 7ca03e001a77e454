"""Binds PersistentVolumeClaims: each is a folder of this machine, made at once."""

from __future__ import annotations

import asyncio
import contextlib

from bessemer.base import trees
from bessemer.base.clock import Clock
from bessemer.base.home import Home
from bessemer.cluster.kubelet.volumes import claimfolders
from bessemer.control.controller import Controller
from bessemer.control.reconcile import DONE, Key, Result
from bessemer.control.sources import Source, own_key
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIM
from bessemer.kube.client import Client
from bessemer.kube.errors import Conflict, NotFound
from bessemer.kube.informer import Informers

_BIND_NOTES = ("pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller")


_SWEEP = Key("", "sweep")


class ClaimBinder:
    """Makes each claim's folder and says so in its status; deletes what no claim has."""

    def __init__(self, client: Client, informers: Informers, clock: Clock, home: Home) -> None:
        self._client = client
        self._clock = clock
        self._home = home
        self._claims = informers.of(PERSISTENT_VOLUME_CLAIM)

    def controller(self) -> Controller:
        """The loop that runs this reconciler."""
        source = Source(self._claims, own_key)
        controller = Controller("claims", self, [source], self._clock, workers=4)
        controller.enqueue(_SWEEP)
        return controller

    async def reconcile(self, key: Key) -> Result:
        """Bind the claim; when one is gone, delete the folders that no claim has."""
        claim = None if key == _SWEEP else self._claims.get(key.name, key.namespace)
        if claim is None:
            await self._sweep()
            return DONE
        claimfolders.ensure(self._home, claim)
        if meta.is_deleting(claim) or meta.dig(claim, "status.phase") == "Bound":
            return DONE
        with contextlib.suppress(Conflict, NotFound):  # its change brings the key back
            await self._bind(claim)
        return DONE

    async def _sweep(self) -> None:
        # Listed before the claims are: a folder is made only for a claim that is known by then.
        found = await asyncio.to_thread(claimfolders.find_strays, self._home)
        alive = {meta.uid(claim) for claim in self._claims.list()}
        for path, uid in found:
            if uid in alive:
                continue
            with contextlib.suppress(FileNotFoundError):  # another sweep was faster
                if folder := claimfolders.discard(self._home, path, uid):
                    await asyncio.to_thread(trees.remove, folder)

    async def _bind(self, claim: Object) -> None:
        """Name the volume, then say that it is bound, as upstream's controller does."""
        if not claim["spec"].get("volumeName"):
            claim = meta.copy(claim)
            claim["spec"]["volumeName"] = f"pvc-{meta.uid(claim)}"
            notes = claim["metadata"].setdefault("annotations", {})
            notes |= dict.fromkeys(_BIND_NOTES, "yes")
            claim = await self._client.update(PERSISTENT_VOLUME_CLAIM, claim)
        status = {
            "phase": "Bound",
            "accessModes": claim["spec"].get("accessModes") or ["ReadWriteOnce"],
            "capacity": dict(meta.dig(claim, "spec.resources.requests") or {}),
        }
        await self._client.update(
            PERSISTENT_VOLUME_CLAIM, {**claim, "status": status}, subresource="status"
        )
