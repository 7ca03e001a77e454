"""The Node object and its heartbeat: what this machine has, and that it lives."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Mapping
from typing import Any

import psutil

import bessemer
from bessemer.base import logs
from bessemer.base.clock import Clock, format_micro_time, format_time
from bessemer.base.home import Home
from bessemer.base.logs import fields
from bessemer.cluster.kubelet.pods import eviction
from bessemer.cluster.kubelet.pods.dependencies import NodeConfig
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.lease import LEASE
from bessemer.kinds.node import NODE
from bessemer.kube.client import Client
from bessemer.kube.errors import AlreadyExists, ApiError, NotFound

_log = logs.get(__name__)
_LEASE_NAMESPACE = "kube-node-lease"
_HEARTBEAT_SECONDS = 10
_LEASE_SECONDS = 40
# Kept for the control plane and the machine's own user.
_RESERVED_MEMORY_BYTES = 512 * 2**20
_DISK = "DiskPressure"
_DISK_LOW = ("True", "KubeletHasDiskPressure", "kubelet has disk pressure")
_CONDITIONS = {
    "MemoryPressure": ("False", "KubeletHasSufficientMemory", "enough memory is available"),
    _DISK: ("False", "KubeletHasNoDiskPressure", "enough disk is available"),
    "PIDPressure": ("False", "KubeletHasSufficientPID", "enough PIDs are available"),
    "Ready": ("True", "KubeletReady", "the node agent runs"),
}
#: False, with the reason, where pods run without namespaces and see the machine and each other.
SANDBOXED = "bessemer.dev/Sandboxed"

#: False, with the reason, where a pod may listen at the address of another one, or of a Service.
OWN_ADDRESSES = "bessemer.dev/OwnAddresses"


def total_memory() -> str:
    """Bytes of memory that the machine has."""
    return f"{psutil.virtual_memory().total // 1024}Ki"


def capacity(config: NodeConfig, home: Home) -> dict[str, str]:
    """What the machine has, as the Node's status says it."""
    disk = os.statvfs(home.root)
    return {
        "cpu": str(psutil.cpu_count() or 1),
        "ephemeral-storage": f"{disk.f_blocks * disk.f_frsize // 1024}Ki",
        "memory": total_memory(),
        "pods": str(config.max_pods),
    }


def allocatable(config: NodeConfig, home: Home) -> dict[str, str]:
    """What of the machine pods may ask for."""
    total = psutil.virtual_memory().total
    left = max(total - _RESERVED_MEMORY_BYTES, total // 2)
    return {**capacity(config, home), "memory": f"{left // 1024}Ki"}


class Registration:
    """Keeps this node's Node and Lease current."""

    def __init__(
        self, client: Client, clock: Clock, config: NodeConfig, allocatable: Mapping[str, str]
    ) -> None:
        self._client = client
        self._clock = clock
        self._config = config
        self._allocatable = allocatable
        self._is_disk_low = False

    async def register(self) -> None:
        """Write the Node object and its status."""
        name = self._config.name
        labels = {
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": platform.system().lower(),
            "kubernetes.io/arch": _architecture(),
        }
        with contextlib.suppress(AlreadyExists):
            await self._client.create(NODE, meta.new(NODE, name, spec={}, labels=labels))
        await self._write()

    async def tell_disk(self, *, low: bool) -> None:
        """Say whether the disk is under pressure, if that is news; then no pod may come."""
        if low == self._is_disk_low:
            return
        before, self._is_disk_low = self._is_disk_low, low
        try:
            await self._write()
        except BaseException:
            self._is_disk_low = before  # to be told again
            raise
        _log.warning("disk nearly full" if low else "disk has room again")

    async def _write(self) -> None:
        """Write the status, then the taint that follows from it."""
        node = await self._client.get(NODE, self._config.name)
        status = self._status(node)
        node = await self._client.update(NODE, {**node, "status": status}, subresource="status")
        taints = node["spec"].get("taints") or []
        wanted = [each for each in taints if each.get("key") != eviction.TAINT]
        if self._is_disk_low:
            wanted.append({"key": eviction.TAINT, "effect": "NoSchedule"})
        if wanted != taints:
            await self._client.update(NODE, {**node, "spec": {**node["spec"], "taints": wanted}})

    async def run(self) -> None:
        """Renew the lease, for ever."""
        while True:
            try:
                await self._renew()
            except ApiError as error:
                _log.warning("lease not renewed", extra=fields(reason=str(error)))
            await self._clock.sleep(_HEARTBEAT_SECONDS)

    async def _renew(self) -> None:
        now = format_micro_time(self._clock.now())
        name = self._config.name
        try:
            await self._client.patch(LEASE, name, _LEASE_NAMESPACE, {"spec": {"renewTime": now}})
        except NotFound:
            spec = {
                "holderIdentity": name,
                "leaseDurationSeconds": _LEASE_SECONDS,
                "renewTime": now,
            }
            await self._client.create(LEASE, meta.new(LEASE, name, _LEASE_NAMESPACE, spec=spec))

    def _conditions(self) -> dict[str, tuple[str, str, str]]:
        """Type -> status, reason, message."""
        why = self._config.unisolated
        sandboxed = ("True", "NamespacesWork", "pods see their own files and processes alone")
        if why:
            text = f"{why}; bessemer doctor says what to do"
            sandboxed = ("False", "NoIsolation", text)
        guarded = ("True", "SocketsGuarded", "a pod listens at its own addresses alone")
        if why or self._config.unguarded:
            text = f"pods may listen at any address: {self._config.unguarded or why}"
            guarded = ("False", "NotGuarded", text)
        told = {**_CONDITIONS, SANDBOXED: sandboxed, OWN_ADDRESSES: guarded}
        return told | {_DISK: _DISK_LOW} if self._is_disk_low else told

    def _status(self, node: Object) -> dict[str, Any]:
        now = format_time(self._clock.now())
        old = {each["type"]: each for each in meta.dig(node, "status.conditions") or ()}
        conditions = []
        for type_, (value, reason, message) in self._conditions().items():
            before = old.get(type_, {})
            same = before.get("status") == value
            conditions.append(
                {
                    "type": type_,
                    "status": value,
                    "reason": reason,
                    "message": message,
                    "lastHeartbeatTime": now,
                    "lastTransitionTime": before["lastTransitionTime"] if same else now,
                }
            )
        return {
            "capacity": {**self._allocatable, "memory": total_memory()},
            "allocatable": dict(self._allocatable),
            "conditions": conditions,
            "addresses": [
                {"type": "InternalIP", "address": self._config.host_ip},
                {"type": "Hostname", "address": self._config.name},
            ],
            "nodeInfo": {
                "architecture": _architecture(),
                "operatingSystem": platform.system().lower(),
                "kernelVersion": platform.release(),
                "osImage": platform.platform(),
                "kubeletVersion": f"bessemer-{bessemer.__version__}",
                "containerRuntimeVersion": f"bessemer://{bessemer.__version__}",
                "kubeProxyVersion": "",
                "machineID": "",
                "systemUUID": "",
                "bootID": "",
            },
        }


def _architecture() -> str:
    machine = platform.machine().lower()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
