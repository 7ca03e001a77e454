"""The three ports of a home: P the https API, P+1 the pages by http, P+2 the gateway."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from pathlib import Path

from bessemer.app import holders
from bessemer.app.folder import LAST_PORT, Config, HomeError

HOST = "127.0.0.1"
FIRST = 7480  # where a new home begins to look
_BLOCKS = 200  # how many blocks of three it looks at
_UNPRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
_NAMES = ("the API", "the pages", "the gateway")


@dataclass(frozen=True)
class Ports:
    """Bound sockets of the API and the pages, and the gateway's port, which Envoy binds."""

    api: socket.socket
    pages: socket.socket
    gateway: int

    def close(self) -> None:
        """Give the ports back to the machine."""
        self.api.close()
        self.pages.close()


def choose(config: Config, asked: int | None, *, gateway_is_ours: bool) -> tuple[int, Ports]:
    """The ports asked for, else the kept ones, else the first free block.

    Args:
        config: what the home keeps.
        asked: P from the command line.
        gateway_is_ours: pods of an earlier start run on, so that P+2 may be held by our Envoy.

    Raises:
        HomeError: one of the three is taken.
    """
    first = asked or config.port
    if asked is not None and not 1 <= asked <= LAST_PORT:
        raise HomeError(
            f"--port must be from 1 to {LAST_PORT} (P, P+1, P+2 are used), but got {asked}"
        )
    if first:
        _check_privileged(first + 2)
        return first, _bind(first, gateway_is_ours=gateway_is_ours and first == config.port)
    for block in range(_BLOCKS):
        try:
            return FIRST + 3 * block, _bind(FIRST + 3 * block, gateway_is_ours=False)
        except HomeError:
            continue
    raise HomeError(
        f"no three free ports from {FIRST} to {FIRST + 3 * _BLOCKS}; choose with --port"
    )


def _check_privileged(gateway: int) -> None:
    """Refuse a gateway's port that Envoy can't open: its pod has no privileges, root's included.

    Raises:
        HomeError: the port is below the first that everybody may open.
    """
    try:
        lowest = int(_UNPRIVILEGED.read_text())
    except (OSError, ValueError):  # not Linux: the bind itself will tell
        return
    if 0 < gateway < lowest:
        raise HomeError(
            f"port {gateway} (the gateway) must be {lowest} or above, for Envoy runs without "
            f"privileges; choose others with --port, from {lowest - 2} on"
        )


def _bind(first: int, *, gateway_is_ours: bool) -> Ports:
    bound: list[socket.socket] = []
    try:
        for offset in range(2 if gateway_is_ours else 3):
            bound.append(_open(first + offset, _NAMES[offset]))
    except HomeError:
        for opened in bound:
            opened.close()
        raise
    for unused in bound[2:]:
        unused.close()
    return Ports(bound[0], bound[1], first + 2)


def _open(port: int, name: str) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((HOST, port))
        opened.listen(1024)
    except OSError as error:
        opened.close()
        if error.errno == errno.EACCES:
            raise HomeError(
                f"port {port} ({name}) must be one that this user may open, but isn't "
                f"({error.strerror}); choose others, 1024 or above, with --port"
            ) from error
        raise HomeError(
            f"port {port} ({name}) must be free, but {_holder(port)} ({error.strerror}); "
            "stop that or choose other ports with --port"
        ) from error
    opened.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return opened


def _holder(port: int) -> str:
    holder = holders.find_listener(port)
    return f"{holder} holds it" if holder else "it can't be had"
