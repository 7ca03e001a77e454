"""The loopback network of a home, 127.X.0.0/16: two homes that run never have the same one.

The claim is a name in Linux' abstract socket namespace. It reaches as far as the addresses do
(one network namespace, all users), leaves no file, and the kernel lets go of it with the process.
Pods can't have names that begin as ours do (``launcher/bindings``).
"""

from __future__ import annotations

import secrets
import socket
import struct
import sys

from bessemer.app import holders
from bessemer.app.folder import HomeError

# 127.0 is everybody's; some distributions put names on 127.0 and 127.1.
FIRST, COUNT = 2, 250
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


class Network:
    """A claimed X. The kept one, or for a new home any that nobody has.

    Raises:
        HomeError: somebody else has it.
    """

    def __init__(self, kept: int) -> None:
        start = secrets.randbelow(COUNT)
        wanted = [kept] if kept else [FIRST + (start + step) % COUNT for step in range(COUNT)]
        for number in wanted:
            claim = _claim(number)
            if claim is not None:
                self.number, self._claim = number, claim
                return
        if not kept:
            raise HomeError(
                f"one of the networks 127.{FIRST} to 127.{FIRST + COUNT - 1} must be free for "
                "this home, but running Bessemers hold them all; stop one with `bessemer down`"
            )
        raise HomeError(
            f"the home's loopback network 127.{kept}.0.0/16 must be its own, but {_holder(kept)} "
            "holds it; stop that first"
        )

    def release(self) -> None:
        """Let another home have it."""
        self._claim.close()


def _claim(number: int) -> socket.socket | None:
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    if not sys.platform.startswith("linux"):
        return claim  # pods have no addresses of their own there
    try:
        claim.bind(_name(number))
    except OSError:
        claim.close()
        return None
    claim.listen(1)  # so that who asks learns our pid
    return claim


def _holder(number: int) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(1)
        try:
            asking.connect(_name(number))
            found = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        except OSError:
            return "another process"
    pid, _, _ = _CREDENTIALS.unpack(found)
    return holders.describe(pid) if pid else "another process"


def _name(number: int) -> str:
    return f"\0bessemer-network-{number}"
