"""Reading containers' logs from their folders (the port is ``logs``).

The pod writes its log itself, so no time of a line is known: ``timestamps`` is refused, and
``since`` leaves out the files that were not written to after it. A log that was rotated is read
from its oldest file that is left, without a word about what is gone, as the kubelet does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from bessemer.base.clock import Clock
from bessemer.base.home import Home
from bessemer.cluster.kubelet.logs.port import LogPruned
from bessemer.cluster.kubelet.pods import plan
from bessemer.cluster.kubelet.pods.attempts import is_number
from bessemer.cluster.kubelet.runtime import rotation
from bessemer.cluster.kubelet.runtime.base import ContainerState, Runtime
from bessemer.cluster.kubelet.runtime.rotation import RotatedLog
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kube.client import LogOptions
from bessemer.kube.errors import BadRequest

# A file tells nobody that it grew; reading a grown one is cheap.
_LOOK_SECONDS = 0.05


class LogFiles:
    """The logs of this node's pods."""

    def __init__(self, home: Home, runtime: Runtime, clock: Clock) -> None:
        self._home = home
        self._runtime = runtime
        self._clock = clock

    async def read(self, pod: Object, options: LogOptions) -> AsyncIterator[bytes]:
        """As the port says."""
        name = container_name(pod, options.container)
        if options.timestamps:
            raise BadRequest("logs have no timestamps on one machine; leave out --timestamps")
        folder = self._attempt(pod, name, previous=options.previous)
        left = options.limit_bytes
        async for piece in self._pieces(folder, options):
            if left is not None:
                piece = piece[:left]
                left -= len(piece)
            yield piece
            if left == 0:
                return

    async def _pieces(self, folder: Path, options: LogOptions) -> AsyncIterator[bytes]:
        if not rotation.files(folder):
            return
        log = RotatedLog(folder)
        try:
            yield b""
            if options.since or options.tail_lines is not None:
                await asyncio.to_thread(log.skip, options.since, options.tail_lines)
            while True:
                # Asked before the last read: what it wrote before its end is then all there.
                over = not options.follow or self._is_over(folder)
                while piece := log.read():
                    yield piece
                    await asyncio.sleep(0)
                if over:
                    return
                await self._clock.sleep(_LOOK_SECONDS)
        finally:
            log.close()

    def _is_over(self, folder: Path) -> bool:
        state = self._runtime.observe(folder).state
        # A deleted pod's folder may go before its log was read to the end.
        return state in (ContainerState.EXITED, ContainerState.LOST) or not folder.exists()

    def _attempt(self, pod: Object, name: str, *, previous: bool) -> Path:
        root = self._home.pods / meta.uid(pod) / "containers" / name
        numbers = []
        if root.is_dir():
            numbers = sorted(int(each.name) for each in root.iterdir() if is_number(each.name))
        if previous:
            number = _last_ended(pod, name)
            if number is not None and number not in numbers:
                raise _pruned(pod, name)
            if number is None:
                raise BadRequest(
                    f'previous terminated container "{name}" in pod "{meta.name(pod)}" not found'
                )
            return root / str(number)
        started = [each for each in numbers if self._is_started(root / str(each))]
        if not started and _has_begun(pod, name):
            raise _pruned(pod, name)
        if not started:
            raise BadRequest(
                f'container "{name}" in pod "{meta.name(pod)}" is waiting to start: '
                f"{_waiting_reason(pod, name)}"
            )
        return root / str(started[-1])

    def _is_started(self, folder: Path) -> bool:
        return self._runtime.observe(folder).state is not ContainerState.CREATED


def container_name(pod: Object, asked: str) -> str:
    """The container that is meant.

    Raises:
        BadRequest: none of that name, or several and none named.
    """
    names = [spec["name"] for spec in plan.all_containers(pod)]
    name, namespace = meta.name(pod), meta.namespace(pod)
    if asked:
        if asked not in names:
            raise BadRequest(f"container {asked} is not valid for pod {name}")
        return asked
    mains = [spec["name"] for spec in pod["spec"]["containers"]]
    if len(names) == 1:
        return str(mains[0])
    inits = [each for each in names if each not in mains]
    text = (
        f"a container name must be specified for pod {name} in namespace {namespace}, "
        f"choose one of: [{' '.join(mains)}]"
    )
    raise BadRequest(
        text + (f" or one of the init containers: [{' '.join(inits)}]" if inits else "")
    )


def _last_ended(pod: Object, name: str) -> int | None:
    """The attempt in the container's lastState: while it waits, that is its latest one.

    Source: k8s.io/kubernetes pkg/kubelet/kubelet_pods.go (validateContainerLogStatus).
    """
    status = pod.get("status") or {}
    for field in ("containerStatuses", "initContainerStatuses"):
        for each in status.get(field) or ():
            if each["name"] == name:
                told = str(meta.dig(each, "lastState.terminated.containerID") or "")
                return int(told.rpartition("/")[2]) if told else None
    return None


def _has_begun(pod: Object, name: str) -> bool:
    """Whether the container's status tells of an attempt, which then had a log."""
    return any(
        each["name"] == name and bool(each.get("containerID"))
        for field in ("containerStatuses", "initContainerStatuses")
        for each in meta.dig(pod, f"status.{field}") or ()
    )


def _pruned(pod: Object, name: str) -> LogPruned:
    return LogPruned(
        f'the log of container "{name}" in pod "{meta.name(pod)}" was pruned: it ended before '
        "`bessemer prune` ran; run it again to have a new one"
    )


def _waiting_reason(pod: Object, name: str) -> str:
    status = pod.get("status") or {}
    for field in ("containerStatuses", "initContainerStatuses"):
        for each in status.get(field) or ():
            if each["name"] == name and "waiting" in each["state"]:
                return str(each["state"]["waiting"].get("reason", "ContainerCreating"))
    return "ContainerCreating"
