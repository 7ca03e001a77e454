"""Binds PersistentVolumeClaims: on one machine each is a folder, made at once."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Iterable

from bessemer.base.clock import Clock
from bessemer.base.home import Home
from bessemer.control.controller import Controller
from bessemer.control.reconcile import DONE, Key, Result
from bessemer.control.sources import Source
from bessemer.kube.client import Client, EventType
from bessemer.kube.errors import Conflict, NotFound
from bessemer.kube.informer import Informers
from bessemer.resources import meta
from bessemer.resources.kind import Object
from bessemer.resources.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIM

_BIND_NOTES = ("pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller")


class ClaimBinder:
    """Makes each claim's folder and says so in its status; deletes the folder with the claim."""

    def __init__(self, client: Client, informers: Informers, clock: Clock, home: Home) -> None:
        self._client = client
        self._clock = clock
        self._home = home
        self._claims = informers.of(PERSISTENT_VOLUME_CLAIM)
        self._gone: set[Key] = set()

    def controller(self) -> Controller:
        """The loop that runs this reconciler."""
        self._claims.subscribe(self._note)
        source = Source(self._claims, _own_key)
        return Controller("claims", self, [source], self._clock, workers=4)

    async def reconcile(self, key: Key) -> Result:
        """Bind the claim, or delete the folder of one that is gone."""
        claim = self._claims.get(key.name, key.namespace)
        if claim is None:
            if key in self._gone:
                self._gone.discard(key)
                folder = self._home.claim(key.namespace, key.name)
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            return DONE
        if meta.is_deleting(claim) or meta.dig(claim, "status.phase") == "Bound":
            return DONE
        folder = self._home.claim(key.namespace, key.name)
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(Conflict, NotFound):  # its change brings the key back
            await self._bind(claim)
        return DONE

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

    def _note(self, type_: EventType, claim: Object) -> None:
        key = Key(meta.namespace(claim), meta.name(claim))
        if type_ is EventType.DELETED:
            self._gone.add(key)
        else:
            self._gone.discard(key)


def _own_key(claim: Object) -> Iterable[Key]:
    return [Key(meta.namespace(claim), meta.name(claim))]
