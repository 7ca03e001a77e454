"""Which address a container's socket gets when it asks for one, and whom it reaches. Pure.

Pods share one network, and each has three loopback addresses of it: its own, and two that stand
for its ``localhost``, one for IPv4 and one for IPv6. So that nobody listens where another pod, a
Service or the platform is looked for, a socket is never bound to an address that is shared:

- all addresses (0.0.0.0, ::) are the pod's own one
- ``localhost`` (127.0.0.1 and what else no home hands out; ::1) are the pod's two of that name
- every other address is not there, as in a pod with a network of its own (EADDRNOTAVAIL)
- the platform's ports are taken on what a container sees as ``localhost`` (EADDRINUSE)

Names are socket addresses as the kernel reads them.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any, Dict, FrozenSet, List, NamedTuple, Optional, Tuple, Union

#: 127.X.0.0/16 belongs to a home for these X; the rest of 127.0.0.0/8 is a pod's localhost.
_FIRST_HOME, _LAST_HOME = 2, 251
_ALL4, _ALL6 = bytes(4), bytes(16)
_LOCALHOST6 = bytes(15) + b"\x01"
_MAPPED = bytes(10) + b"\xff\xff"
#: Names in the abstract namespace of UNIX sockets that are the platform's begin so.
_PLATFORM = b"\0bessemer-"
_NAME4 = struct.Struct("!H4s8x")
_NAME6 = struct.Struct("!HI16sI")
_FAMILY = struct.Struct("=H")
_SHORTEST4, _SHORTEST6 = 16, 24  # the latter without its scope


class Own(NamedTuple):
    """What of the network is a pod's: three addresses, and the ports that it can't have."""

    address: bytes
    localhost: bytes
    localhost6: bytes
    reserved: FrozenSet[int]


def read(record: Dict[str, Any]) -> Own:
    """The addresses of a pod, read from the spec of its container."""
    names = ("address", "localhost", "localhost6")
    address, localhost, localhost6 = (socket.inet_aton(record[name]) for name in names)
    return Own(address, localhost, localhost6, frozenset(record["reserved"]))


class Asked(NamedTuple):
    """A bind: by which socket, and to what."""

    family: int
    is_datagram: bool
    only6: bool  # IPV6_V6ONLY
    name: bytes


class Bind(NamedTuple):
    """To this name; with ``widen``, IPV6_V6ONLY has to go first."""

    name: bytes
    widen: bool = False


class Refuse(NamedTuple):
    """The program's call is answered with this error."""

    number: int


Verdict = Union[Bind, Refuse]
_ABSENT = Refuse(errno.EADDRNOTAVAIL)
_TAKEN = Refuse(errno.EADDRINUSE)
_UNKNOWN = Refuse(errno.EAFNOSUPPORT)


def decide(asked: Asked, own: Own) -> Verdict:
    """Where the socket is to be bound."""
    if asked.family == socket.AF_UNIX:
        return _TAKEN if asked.name[2:].startswith(_PLATFORM) else Bind(asked.name)
    if asked.family == socket.AF_INET and len(asked.name) >= _SHORTEST4:
        return _decide4(asked, own)
    if asked.family == socket.AF_INET6 and len(asked.name) >= _SHORTEST6:
        return _decide6(asked, own)
    if asked.family in (socket.AF_INET, socket.AF_INET6):
        return Refuse(errno.EINVAL)
    return _UNKNOWN  # some of them carry an address of the network in their own


def any_port(asked: Asked, own: Own) -> Verdict:
    """Where a socket that listens without a name gets one."""
    if asked.family == socket.AF_INET:
        return Bind(_name4(own.address, 0))
    if asked.family == socket.AF_INET6:
        return _decide6(asked._replace(name=_name6(_ALL6, 0)), own)
    return _UNKNOWN


def reach(name: bytes, own: Own) -> List[Tuple[bytes, bytes]]:
    """Where in its own pod may be what a container looks for at its localhost.

    Returns:
        Each place as its IPv4 address and as the name to connect to, the likeliest first; none
        where the name means what it says.
    """
    family = _family(name)
    if family == socket.AF_INET and len(name) >= _SHORTEST4:
        port, address = _read4(name)
        if not _is_localhost(address) or port in own.reserved:
            return []
        return [(one, _name4(one, port)) for one in (own.localhost, own.address)]
    if family == socket.AF_INET6 and len(name) >= _SHORTEST6:
        port, long = _read6(name)
        if port in own.reserved:
            return []
        if long in (_ALL6, _LOCALHOST6):
            places = (own.localhost6, own.address)
        elif long.startswith(_MAPPED) and _is_localhost(long[12:]):
            places = (own.localhost, own.address)
        else:
            return []
        return [(one, _name6(_MAPPED + one, port)) for one in places]
    return []


def find_port(name: bytes) -> Optional[int]:
    """The port in a socket's name; None where names have none."""
    if _family(name) not in (socket.AF_INET, socket.AF_INET6):
        return None
    return _read4(name)[0]


def _decide4(asked: Asked, own: Own) -> Verdict:
    port, address = _read4(asked.name)
    family = _family(asked.name)
    if family != socket.AF_INET and (family != socket.AF_UNSPEC or address != _ALL4):
        return _UNKNOWN
    found = _place(address, port, own, keeps_all=asked.is_datagram)
    return found if isinstance(found, Refuse) else Bind(_name4(found, port))


def _decide6(asked: Asked, own: Own) -> Verdict:
    port, address = _read6(asked.name)
    if _family(asked.name) != socket.AF_INET6:
        return _UNKNOWN
    if address.startswith(_MAPPED):
        return _decide_mapped(address[12:], port, asked, own)
    if address not in (_ALL6, _LOCALHOST6):
        return _ABSENT
    if address == _ALL6 and asked.is_datagram and port == 0:
        return Bind(_name6(_ALL6, 0))
    if port in own.reserved:
        return _TAKEN
    # What takes IPv6 alone, or is for localhost there, must leave room for its twin of IPv4.
    place = own.address if address == _ALL6 and not asked.only6 else own.localhost6
    return Bind(_name6(_MAPPED + place, port), widen=asked.only6)


def _decide_mapped(address: bytes, port: int, asked: Asked, own: Own) -> Verdict:
    if asked.only6:
        return Refuse(errno.EINVAL)
    found = _place(address, port, own, keeps_all=asked.is_datagram)
    return found if isinstance(found, Refuse) else Bind(_name6(_MAPPED + found, port))


def _place(address: bytes, port: int, own: Own, *, keeps_all: bool) -> Union[bytes, Refuse]:
    if address in own[:3]:
        return address
    if address == _ALL4 and keeps_all and port == 0:
        # A client's, who sends to other machines too. Without a bind he would get the same.
        return _ALL4
    if not _is_localhost(address):
        return _ABSENT
    if port in own.reserved:
        return _TAKEN
    return own.address if address == _ALL4 else own.localhost


def _is_localhost(address: bytes) -> bool:
    if address == _ALL4:
        return True
    return address[0] == 127 and not _FIRST_HOME <= address[1] <= _LAST_HOME


def _family(name: bytes) -> int:
    return _FAMILY.unpack_from(name)[0]  # type: ignore[no-any-return]


def _read4(name: bytes) -> Tuple[int, bytes]:
    return struct.unpack_from("!H4s", name, 2)


def _read6(name: bytes) -> Tuple[int, bytes]:
    port, _, address = struct.unpack_from("!HI16s", name, 2)
    return port, address


def _name4(address: bytes, port: int) -> bytes:
    return _FAMILY.pack(socket.AF_INET) + _NAME4.pack(port, address)


def _name6(address: bytes, port: int) -> bytes:
    return _FAMILY.pack(socket.AF_INET6) + _NAME6.pack(port, 0, address, 0)


def is_own(name: bytes, own: Own) -> bool:
    """Whether a socket that has this name is where the pod may listen."""
    family = _family(name)
    if family == socket.AF_INET:
        return _read4(name)[1] in own[:3]
    if family == socket.AF_INET6:
        address = _read6(name)[1]
        return address.startswith(_MAPPED) and address[12:] in own[:3]
    return family == socket.AF_UNIX
