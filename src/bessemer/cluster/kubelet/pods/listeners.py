"""Whose a listening socket is: the kernel's own word, by which a probe knows who answered it.

On a network that all pods share, that somebody answers at a pod's address proves nothing: who
listens on all addresses answers there too, until the pod does itself. The kernel names the socket
that takes a place's connections (sock_diag(7)), and /proc whose it is.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_NETLINK_SOCK_DIAG = 4
_BY_FAMILY, _REQUEST_FLAG = 20, 1
_ANY = 0xFFFFFFFF
# struct nlmsghdr and struct inet_diag_req_v2 (linux/netlink.h, linux/inet_diag.h).
_REQUEST = struct.Struct("=IHHII BBBBI 2s2s 16s16s III")
_INODE_AT = 16 + 68
_PATIENCE_SECONDS = 1.0
# Sockets of one pod that need not be looked for again.
_MOST_PROVEN = 64


@dataclass(frozen=True)
class Listener:
    """The socket that takes a place's connections.

    Attributes:
        inode: its number on this machine for as long as it lives.
        address: where it is bound; "0.0.0.0": everywhere.
    """

    inode: int
    address: str


def find(address: str, port: int) -> Listener | None:
    """The socket that takes TCP connections to an IPv4 address and port; None: there is none.

    Raises:
        OSError: this machine does not say.
    """
    here = socket.inet_aton(address).ljust(16, b"\0")
    request = _REQUEST.pack(
        _REQUEST.size, _BY_FAMILY, _REQUEST_FLAG, 1, 0,
        socket.AF_INET, socket.IPPROTO_TCP, 0, 0, _ANY,
        struct.pack("!H", port), bytes(2), here, bytes(16), 0, _ANY, _ANY,
    )  # fmt: skip
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as asking:
        asking.settimeout(_PATIENCE_SECONDS)
        asking.send(request)
        reply = asking.recv(4096)
    if struct.unpack_from("=H", reply, 4)[0] != _BY_FAMILY:
        return None
    (inode,) = struct.unpack_from("=I", reply, _INODE_AT)
    if reply[16] == socket.AF_INET:
        return Listener(inode, socket.inet_ntoa(reply[24:28]))
    bound = ipaddress.IPv6Address(reply[24:40])
    return Listener(inode, str(bound.ipv4_mapped or "0.0.0.0"))


class Owner:
    """Tells whether the pod's own processes answer at a place.

    Args:
        address: the pod's.
        roots: the pids of what its containers consist of, with all beneath them.
    """

    def __init__(self, address: str, roots: Callable[[], Iterable[int]]) -> None:
        self._address = address
        self._roots = roots
        self._proven: set[int] = set()

    def doubt(self, host: str, port: int) -> str:
        """Why an answer from there isn't the pod's; empty: it is, or nobody can tell."""
        if not sys.platform.startswith("linux"):
            return ""
        try:
            listener = find(host, port)
        except OSError:
            return ""
        if listener is None:
            return f"nobody listens at {host}:{port} any more"
        if listener.inode in self._proven:
            return ""
        if not self._holds(listener):
            return f"{host}:{port} is answered by a process that is not this pod's"
        if len(self._proven) >= _MOST_PROVEN:
            self._proven.clear()
        self._proven.add(listener.inode)
        return ""

    def _holds(self, listener: Listener) -> bool:
        wanted = f"socket:[{listener.inode}]"
        is_hidden = False
        for pid in _descendants(self._roots()):
            try:
                if any(link == wanted for link in _links(pid)):
                    return True
            except PermissionError:
                is_hidden = True
            except OSError:
                continue  # it has ended
        # What hides its descriptors may hold it; nobody but the pod is bound to its very address.
        return is_hidden and listener.address == self._address


def _links(pid: int) -> Iterator[str]:
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            yield os.readlink(f"{folder}/{name}")


def _descendants(roots: Iterable[int]) -> Iterator[int]:
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        yield pid
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                waiting.extend(int(word) for word in task.read_text().split())
