"""Pod addresses: loopback addresses of the home's own part of 127.0.0.0/8.

A pod has three: its own, and one each in the place of 127.0.0.1 and ::1, which all pods share.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
from collections.abc import Iterable
from pathlib import Path

from bessemer.base import trees
from bessemer.cluster.kubelet.errors import StartFailure
from bessemer.cluster.kubelet.runtime import records
from bessemer.cluster.kubelet.runtime.base import Network
from bessemer.kinds import meta
from bessemer.kinds.kind import Object

# In the upper half of 127.X.0.0/16; the lower half is for Services. What stands for localhost is
# as far on as there are addresses, what stands for that of IPv6 twice as far.
_FIRST = 0x8000
_COUNT = 0x2000
# The first and last ones look like a network and a broadcast address.
_RESERVED = frozenset({0, _COUNT - 1})
#: In a pod's folder: its address and, after a space, its namespace and name for who looks on.
FILE = "address"
_LONGEST = 512  # bytes of it: names have at most 253 characters
API_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc",
             "kubernetes.default.svc.cluster.local")  # fmt: skip


class Addresses:
    """Which pod has which of the node's addresses."""

    def __init__(self, network: int) -> None:
        self._network = network
        self._taken: dict[str, str] = {}

    def adopt(self, uid: str, address: str) -> None:
        """Keep the address that a pod had before, unless another one has it by now."""
        self._taken.setdefault(address, uid)

    def take(self, uid: str) -> str:
        """A free address; the same pod gets the same one again when it is free.

        Raises:
            StartFailure: there are more pods than addresses.
        """
        start = int.from_bytes(hashlib.sha256(uid.encode()).digest()[:4], "big") % _COUNT
        for step in range(_COUNT):
            number = (start + step) % _COUNT
            if number in _RESERVED:
                continue
            first = ipaddress.IPv4Address(f"127.{self._network}.0.0") + _FIRST + number
            address, *others = (str(first + _COUNT * step) for step in range(3))
            # Pods of earlier versions may still have one of the others as their own.
            if any(one in self._taken for one in others):
                continue
            if self._taken.setdefault(address, uid) == uid:
                return address
        raise StartFailure("FailedCreatePodSandBox", "all pod addresses of this home are taken")

    def of_pod(self, pod: Object, folder: Path) -> str:
        """A pod's address: the one it had, or a free one; kept in its folder with its name.

        Raises:
            StartFailure: there are more pods than addresses.
        """
        uid, name = meta.uid(pod), f"{meta.namespace(pod)}/{meta.name(pod)}"
        if kept := self.adopt_pod(uid, folder):
            return kept
        address = self.take(uid)
        # A full disk keeps no pod from being looked after; then only a restart may change it.
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = folder / FILE
            if not file.is_file():  # nothing, or what nobody made who means well
                trees.remove(file)
            file.write_text(f"{address} {name}")
        return address

    def adopt_pod(self, uid: str, folder: Path) -> str:
        """Keep the address in a pod's folder; empty when there is none."""
        address, _ = _read(folder)
        if not _is_loopback(address):
            return ""
        self.adopt(uid, address)
        return address

    def release(self, uid: str, address: str) -> None:
        """Let another pod have it."""
        if self._taken.get(address) == uid:
            del self._taken[address]


def read_name(folder: Path) -> str:
    """The namespace and name of the pod whose folder it is, "a/x"; empty where nothing tells."""
    return _read(folder)[1]


def _read(folder: Path) -> tuple[str, str]:
    address, _, name = records.read_text(folder / FILE, _LONGEST).partition(" ")
    return address, name


def network(address: str, platform_ports: tuple[int, ...]) -> Network:
    """What of the loopback network belongs to the pod that has this address."""
    own = ipaddress.IPv4Address(address)
    if int(own) & 0xFFFF >= _FIRST + _COUNT:  # of an earlier version, which gave it one alone
        return Network(address, address, address, platform_ports)
    return Network(address, str(own + _COUNT), str(own + 2 * _COUNT), platform_ports)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.IPv4Address(address).is_loopback
    except ValueError:
        return False


def hosts(pod: Object, address: str, services: Iterable[Object]) -> dict[str, str]:
    """The names in a pod's /etc/hosts: its own, its namespace's Services', the API's."""
    namespace = meta.namespace(pod)
    names: dict[str, str] = {}
    for service in services:
        ip = service["spec"].get("clusterIP")
        if ip and ip != "None":
            name = meta.name(service)
            for suffix in ("", f".{namespace}", f".{namespace}.svc",
                           f".{namespace}.svc.cluster.local"):  # fmt: skip
                names[name + suffix] = ip
    first = 1 if namespace != "default" else 0
    names.update(dict.fromkeys(API_NAMES[first:], "127.0.0.1"))
    for alias in pod["spec"].get("hostAliases") or ():
        names.update(dict.fromkeys(alias.get("hostnames") or (), alias["ip"]))
    names[hostname(pod)] = address
    return names


def hostname(pod: Object) -> str:
    """The pod's host name, as upstream cuts it."""
    name: str = pod["spec"].get("hostname") or meta.name(pod)
    return name[:63].rstrip("-.")
