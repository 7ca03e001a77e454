"""When a pod is evicted for what it has on the disk, and in which words. Pure.

Source: k8s.io/kubernetes pkg/kubelet/pods/eviction (eviction_manager.go: localStorageEviction,
synchronize; helpers.go: rankDiskPressureFunc, evictionMessage); kubelet's nodefs.available.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bessemer.base.clock import parse_time
from bessemer.kinds import meta, quantity
from bessemer.kinds.kind import Object

RESOURCE = "ephemeral-storage"
REASON = "Evicted"
#: How the decision is kept until the pod has ended: a condition of this type and reason.
CONDITION = "DisruptionTarget"
CONDITION_REASON = "TerminationByKubelet"
#: Seconds from SIGTERM to SIGKILL (kubelet's immediateEvictionGracePeriodSeconds).
GRACE_SECONDS = 1
#: On the node while its disk is full: no pod comes to it that doesn't tolerate this.
TAINT = "node.kubernetes.io/disk-pressure"

# kubelet: 10 % of the disk. Here the disk is a person's own, who may well have it nearly full.
_LOW_SHARE = 0.1
_LOW_BYTES = 512 * 2**20
_LOW_INODES_SHARE = 0.05
_LOW_INODES = 10_000
_ENOUGH = 1.25  # times the threshold: then it is over
# Whoever has less beyond its request than this share of the threshold doesn't fill the disk.
_WORTH_SHARE = 1 / 16


@dataclass(frozen=True)
class Disk:
    """A file system: bytes, and inodes (0 of 0 where it doesn't count them)."""

    total: int
    free: int
    inodes: int = 0
    free_inodes: int = 0

    @property
    def threshold(self) -> int:
        """Bytes; with fewer free it is under pressure."""
        return int(min(self.total * _LOW_SHARE, _LOW_BYTES))


@dataclass(frozen=True)
class Usage:
    """What a pod has on the disk, in bytes: by emptyDir, and by container (logs and files)."""

    volumes: Mapping[str, int] = field(default_factory=dict)
    containers: Mapping[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All bytes of the pod that its limit counts."""
        return sum(self.volumes.values()) + sum(self.containers.values())


def is_low(disk: Disk, *, was_low: bool) -> bool:
    """Whether the disk is under pressure; once it is, until there is clearly more room."""
    factor = _ENOUGH if was_low else 1.0
    inodes = min(disk.inodes * _LOW_INODES_SHARE, _LOW_INODES)
    return disk.free < disk.threshold * factor or disk.free_inodes < inodes * factor


def is_bounded(pod: Object) -> bool:
    """Whether the pod has a limit that its usage must be held against."""
    if any(True for _ in _size_limits(pod)):
        return True
    return any(_limit(spec) is not None for spec in pod["spec"]["containers"])


def breach(pod: Object, usage: Usage) -> str:
    """Which of its own limits the pod exceeds, in kubelet's words; "" if none."""
    for name, limit in _size_limits(pod):
        if usage.volumes.get(name, 0) > quantity.whole(limit):
            return f'Usage of EmptyDir volume "{name}" exceeds the limit "{limit}". '
    limits = [text for spec in pod["spec"]["containers"] if (text := _limit(spec)) is not None]
    memory = {volume["name"] for volume in _empty_dirs(pod) if _is_memory(volume)}
    used = usage.total - sum(usage.volumes.get(name, 0) for name in memory)
    if limits and used > sum(map(quantity.whole, limits)):
        total = limits[0] if len(limits) == 1 else _bytes(sum(map(quantity.whole, limits)))
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {total}. "
    for spec in pod["spec"]["containers"]:
        name, own = spec["name"], _limit(spec)
        if own is not None and usage.containers.get(name, 0) > quantity.whole(own):
            return f'Container {name} exceeded its local ephemeral storage limit "{own}". '
    return ""


def choose(
    candidates: Sequence[tuple[Object, Usage]], disk: Disk
) -> tuple[Object, str] | tuple[None, str]:
    """Whom to evict from a full disk, and why: who has most beyond its request, least priority.

    None: whoever fills the disk, it is none of them.
    """
    worth = disk.threshold * _WORTH_SHARE
    ranked = [
        (int(meta.dig(pod, "spec.priority", 0) or 0), request(pod) - usage.total, meta.uid(pod))
        for pod, usage in candidates
    ]
    guilty = [rank for rank in ranked if -rank[1] > worth]
    if not guilty:
        return None, ""
    _, _, uid = min(guilty)
    pod, usage = next((pod, usage) for pod, usage in candidates if meta.uid(pod) == uid)
    return pod, _low_message(pod, usage, disk)


def _low_message(pod: Object, usage: Usage, disk: Disk) -> str:
    told = (
        f"The node was low on resource: {RESOURCE}. Threshold quantity: {disk.threshold}, "
        f"available: {_bytes(disk.free)}. "
    )
    for spec in pod["spec"]["containers"]:
        used = usage.containers.get(spec["name"], 0)
        asked = _amount(spec, "requests") or "0"
        if used > quantity.whole(asked):
            told += (
                f"Container {spec['name']} was using {_bytes(used)}, request is {asked}, has "
                f"larger consumption of {RESOURCE}. "
            )
    return told


def request(pod: Object) -> int:
    """Bytes that the pod asked for; a limit without a request is one."""
    return sum(
        quantity.whole(_amount(spec, "requests") or _amount(spec, "limits") or "0")
        for spec in pod["spec"]["containers"]
    )


def empty_dirs(pod: Object) -> list[str]:
    """The names of the pod's emptyDir volumes."""
    return [str(volume["name"]) for volume in _empty_dirs(pod)]


def condition(message: str, now: str) -> dict[str, Any]:
    """The condition that keeps a decision."""
    return {
        "type": CONDITION,
        "status": "True",
        "reason": CONDITION_REASON,
        "message": message,
        "lastTransitionTime": now,
    }


def decided(pod: Object) -> tuple[datetime, str] | None:
    """When and why the pod's eviction was decided, if it was."""
    found = meta.condition(pod, CONDITION) or {}
    is_ours = (found.get("status"), found.get("reason")) == ("True", CONDITION_REASON)
    if not is_ours or not found.get("lastTransitionTime"):
        return None
    return parse_time(found["lastTransitionTime"]), str(found.get("message", ""))


def _empty_dirs(pod: Object) -> Iterator[Object]:
    for volume in pod["spec"].get("volumes") or ():
        if "emptyDir" in volume or set(volume) == {"name"}:
            yield volume


def _is_memory(volume: Object) -> bool:
    return bool((volume.get("emptyDir") or {}).get("medium") == "Memory")


def _size_limits(pod: Object) -> Iterator[tuple[str, str]]:
    for volume in _empty_dirs(pod):
        limit = (volume.get("emptyDir") or {}).get("sizeLimit")
        if limit is not None and quantity.whole(str(limit)) > 0:
            yield volume["name"], str(limit)


def _limit(spec: Object) -> str | None:
    return _amount(spec, "limits")


def _amount(spec: Object, kind: str) -> str | None:
    text = ((spec.get("resources") or {}).get(kind) or {}).get(RESOURCE)
    return None if text is None else str(text)


def _bytes(amount: int) -> str:
    return f"{-(-amount // 1024)}Ki"
