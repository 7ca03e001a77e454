"""Pod addresses: one loopback address a pod, of the home's own part of 127.0.0.0/8."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
from collections.abc import Iterable
from pathlib import Path

from bessemer.cluster.node import trees
from bessemer.cluster.node.errors import StartFailure
from bessemer.cluster.node.runtime import records
from bessemer.resources import meta
from bessemer.resources.kind import Object

# The upper half of 127.X.0.0/16; the lower half is for Services.
_FIRST = 0x8000
_COUNT = 0x8000
# The first and last ones look like a network and a broadcast address.
_RESERVED = frozenset({0, _COUNT - 1})
#: In a pod's folder: its address.
FILE = "address"
_LONGEST = 64  # bytes of it
API_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc",
             "kubernetes.default.svc.cluster.local")  # fmt: skip


class Addresses:
    """Who has which address."""

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
            address = f"127.{self._network}.{(_FIRST + number) >> 8}.{number & 0xFF}"
            if self._taken.setdefault(address, uid) == uid:
                return address
        raise StartFailure("FailedCreatePodSandBox", "all pod addresses of this home are taken")

    def of_pod(self, uid: str, folder: Path) -> str:
        """A pod's address: the one it had, or a free one; kept in its folder.

        Raises:
            StartFailure: there are more pods than addresses.
        """
        if kept := self.adopt_pod(uid, folder):
            return kept
        address = self.take(uid)
        # A full disk keeps no pod from being looked after; then only a restart may change it.
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = folder / FILE
            if not file.is_file():  # nothing, or what nobody made who means well
                trees.remove(file)
            file.write_text(address)
        return address

    def adopt_pod(self, uid: str, folder: Path) -> str:
        """Keep the address in a pod's folder; empty when there is none."""
        address = records.read_text(folder / FILE, _LONGEST)
        if not _is_loopback(address):
            return ""
        self.adopt(uid, address)
        return address

    def release(self, uid: str, address: str) -> None:
        """Let another pod have it."""
        if self._taken.get(address) == uid:
            del self._taken[address]


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
