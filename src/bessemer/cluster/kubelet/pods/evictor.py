"""Keeps pods from filling the disk: looks, measures in a thread, decides by ``eviction``, acts.

The disk is asked for its free room each second, which is one system call. Pods are measured only
if they have a limit, more seldom the longer they run and the larger they are; all of them while
the disk is nearly full.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bessemer.base import logs, trees
from bessemer.base.clock import Clock, format_time
from bessemer.base.home import Home
from bessemer.base.logs import fields
from bessemer.cluster.kubelet.pods import eviction
from bessemer.cluster.kubelet.pods.dependencies import Events
from bessemer.cluster.kubelet.pods.eviction import Disk, Usage
from bessemer.cluster.kubelet.pods.registration import Registration
from bessemer.cluster.kubelet.pods.spares import attempts_folder
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.pod import POD, has_ended
from bessemer.kube.client import Client
from bessemer.kube.errors import ApiError, Conflict, NotFound

_log = logs.get(__name__)
_LOOK_SECONDS = 1.0
# A pod is measured soon after its start, then less often: kubelet's eviction manager each 10 s.
_FIRST_SECONDS = 1.0
_MOST_SECONDS = 10.0
# A walk may take one part in so many of the time.
_REST = 20
# While the disk is full: how long an evicted pod gets to give its room back before the next one.
_PATIENCE_SECONDS = 30.0


@dataclass
class _Measure:
    """When a pod is to be measured next, and what it had."""

    due: float  # on the monotonic clock
    pause: float = _FIRST_SECONDS
    usage: Usage = field(default_factory=Usage)


class Evictor:
    """Evicts pods of this node for what they have on the disk.

    Args:
        live: the pods that a worker of this node cares for.
    """

    def __init__(
        self,
        home: Home,
        registration: Registration,
        client: Client,
        events: Events,
        clock: Clock,
        live: Callable[[], Iterable[Object]],
    ) -> None:
        self._home = home
        self._registration = registration
        self._client = client
        self._events = events
        self._clock = clock
        self._live = live
        self._measures: dict[str, _Measure] = {}
        self._is_low = False
        self._wait_until = 0.0  # for the room of the pod that was evicted last
        self._stop = threading.Event()

    async def run(self) -> None:
        """Look at the disk and the pods on it, for ever."""
        try:
            while True:
                try:
                    await self._look()
                except (ApiError, OSError) as error:
                    _log.warning("disk not watched", extra=fields(reason=str(error)))
                await self._clock.sleep(_LOOK_SECONDS)
        finally:
            self._stop.set()

    async def _look(self) -> None:
        disk = read_disk(self._home.root)
        self._is_low = eviction.is_low(disk, was_low=self._is_low)
        await self._registration.tell_disk(low=self._is_low)
        pods = {
            meta.uid(pod): pod
            for pod in self._live()
            if not has_ended(pod) and not eviction.decided(pod)
        }
        self._measures = {uid: each for uid, each in self._measures.items() if uid in pods}
        for uid, pod in pods.items():
            if self._is_low or eviction.is_bounded(pod):
                usage = await self._measure(uid, pod)
                if message := eviction.breach(pod, usage):
                    await self._evict(pod, message)
        if self._is_low:
            await self._relieve(pods)

    async def _measure(self, uid: str, pod: Object) -> Usage:
        now = self._clock.monotonic()
        known = self._measures.setdefault(uid, _Measure(now))
        if known.due <= now:
            root = self._home.pods / uid
            known.usage = await asyncio.to_thread(measure, root, pod, self._stop)
            took = self._clock.monotonic() - now
            known.due = now + max(known.pause, took * _REST)
            known.pause = min(known.pause * 2, _MOST_SECONDS)
        return known.usage

    async def _relieve(self, pods: dict[str, Object]) -> None:
        """Evict one pod from the full disk, and wait for what that gives back."""
        if self._clock.monotonic() < self._wait_until:
            return
        disk = read_disk(self._home.root)
        if not eviction.is_low(disk, was_low=True):
            return
        known = [
            (pod, self._measures[uid].usage) for uid, pod in pods.items() if uid in self._measures
        ]
        pod, message = eviction.choose(known, disk)
        if pod is not None and await self._evict(pod, message):
            self._wait_until = self._clock.monotonic() + _PATIENCE_SECONDS

    async def _evict(self, pod: Object, message: str) -> bool:
        """Decide it, durably: the pod's worker does the rest."""
        name, namespace = meta.name(pod), meta.namespace(pod)
        try:
            now = await self._client.get(POD, name, namespace)
            if meta.uid(now) != meta.uid(pod) or has_ended(now):
                return False
            status = dict(now.get("status") or {})
            others = [
                each
                for each in status.get("conditions") or ()
                if each["type"] != eviction.CONDITION
            ]
            why = eviction.condition(message, format_time(self._clock.now()))
            status["conditions"] = [*others, why]
            await self._client.update(POD, {**now, "status": status}, subresource="status")
        except (NotFound, Conflict):  # gone, or looked at again in a second
            return False
        _log.warning("pod evicted", extra=fields(pod=name, namespace=namespace, why=message))
        self._events.tell(pod, "Warning", eviction.REASON, message)
        return True


def read_disk(path: Path) -> Disk:
    """What is left of the disk that the path is on, for those who are not root."""
    found = os.statvfs(path)
    size = found.f_frsize
    return Disk(
        found.f_blocks * size, found.f_bavail * size, found.f_files, found.f_favail
    )  # fmt: skip


def measure(root: Path, pod: Object, stop: threading.Event) -> Usage:
    """What the pod has on the disk, by its folder; nothing once the server ends."""
    try:
        volumes = {
            name: trees.measure(root / "volumes" / name, stop) for name in eviction.empty_dirs(pod)
        }
        containers = {
            spec["name"]: trees.measure(attempts_folder(root) / spec["name"], stop)
            for spec in pod["spec"]["containers"]
        }
    except trees.Stopped:
        return Usage()
    return Usage(volumes, containers)
