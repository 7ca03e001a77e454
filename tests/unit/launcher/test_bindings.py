"""Where a container's sockets are put, and what its localhost means."""

from __future__ import annotations

import errno
import socket
import struct

import pytest

from bessemer.launcher import bindings
from bessemer.launcher.bindings import Asked, Bind, Refuse

OWN = bindings.read(
    {
        "address": "127.9.128.7",
        "localhost": "127.9.160.7",
        "localhost6": "127.9.192.7",
        "reserved": [7480, 7481, 7482],
    }
)


def name(address: str, port: int) -> bytes:
    if ":" in address:
        packed = socket.inet_pton(socket.AF_INET6, address)
        family = struct.pack("=H", socket.AF_INET6)
        return family + struct.pack("!HI16sI", port, 0, packed, 0)
    packed = socket.inet_aton(address)
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, packed)


def ask(address: str, port: int = 8080, *, datagram: bool = False, only6: bool = False) -> Asked:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return Asked(family, datagram, only6, name(address, port))


def plain(family: int, told: bytes) -> Asked:
    return Asked(family, is_datagram=False, only6=False, name=told)


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("0.0.0.0", "127.9.128.7"),
        ("127.0.0.1", "127.9.160.7"),
        ("127.0.0.2", "127.9.160.7"),
        ("127.0.255.3", "127.9.160.7"),
        ("127.255.0.1", "127.9.160.7"),
        ("127.9.128.7", "127.9.128.7"),
        ("127.9.160.7", "127.9.160.7"),
        ("::", "::ffff:127.9.128.7"),
        ("::1", "::ffff:127.9.192.7"),
        ("::ffff:0.0.0.0", "::ffff:127.9.128.7"),
        ("::ffff:127.0.0.1", "::ffff:127.9.160.7"),
        ("::ffff:127.9.128.7", "::ffff:127.9.128.7"),
    ],
)
def test_a_socket_is_put_at_one_of_its_pods_addresses(asked: str, given: str) -> None:
    assert bindings.decide(ask(asked), OWN) == Bind(name(given, 8080))
    assert bindings.is_own(name(given, 8080), OWN)


@pytest.mark.parametrize(
    "address",
    [
        "127.9.128.8",  # another pod's
        "127.9.0.10",  # a Service's
        "127.9.160.8",  # another pod's localhost
        "127.2.0.1",  # other homes'
        "127.251.255.254",
        "10.0.0.1",  # the machine's
        "224.0.0.1",
        "255.255.255.255",
        "fe80::1",
        "2001:db8::1",
        "::ffff:127.9.0.10",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
    ],
)
def test_every_other_address_is_not_there(address: str) -> None:
    assert bindings.decide(ask(address), OWN) == Refuse(errno.EADDRNOTAVAIL)
    assert bindings.decide(ask(address, 0, datagram=True), OWN) == Refuse(errno.EADDRNOTAVAIL)
    assert not bindings.is_own(name(address, 8080), OWN)


@pytest.mark.parametrize("port", [7480, 7481, 7482])
@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1", "::", "::1", "::ffff:127.0.0.1"])
def test_the_platforms_ports_are_taken(address: str, port: int) -> None:
    assert bindings.decide(ask(address, port), OWN) == Refuse(errno.EADDRINUSE)
    assert bindings.reach(name(address, port), OWN) == []


def test_at_its_own_address_a_pod_has_every_port() -> None:
    assert bindings.decide(ask("127.9.128.7", 7480), OWN) == Bind(name("127.9.128.7", 7480))


@pytest.mark.parametrize("address", ["::", "::1"])
def test_a_socket_for_ipv6_alone_leaves_room_for_its_twin(address: str) -> None:
    decided = bindings.decide(ask(address, only6=True), OWN)

    assert decided == Bind(name("::ffff:127.9.192.7", 8080), widen=True)


def test_a_mapped_address_is_nothing_for_ipv6_alone() -> None:
    decided = bindings.decide(ask("::ffff:127.0.0.1", only6=True), OWN)

    assert decided == Refuse(errno.EINVAL)


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_a_client_that_sends_datagrams_may_be_anywhere(address: str) -> None:
    assert bindings.decide(ask(address, 0, datagram=True), OWN) == Bind(name(address, 0))
    assert bindings.decide(ask(address, 0), OWN) != Bind(name(address, 0))
    assert bindings.decide(ask(address, 53, datagram=True), OWN) != Bind(name(address, 53))


def test_no_address_of_no_family_is_all_addresses_as_the_kernel_has_it() -> None:
    unspecified = b"\0\0" + name("0.0.0.0", 8080)[2:]
    elsewhere = b"\0\0" + name("127.0.0.1", 8080)[2:]

    decided = bindings.decide(plain(socket.AF_INET, unspecified), OWN)
    assert decided == Bind(name("127.9.128.7", 8080))
    refused = bindings.decide(plain(socket.AF_INET, elsewhere), OWN)
    assert refused == Refuse(errno.EAFNOSUPPORT)


def test_names_that_are_no_names_are_refused() -> None:
    for family in (socket.AF_INET, socket.AF_INET6):
        short = plain(family, name("127.0.0.1", 80)[:15])
        assert bindings.decide(short, OWN) == Refuse(errno.EINVAL)
    crossed = plain(socket.AF_INET6, name("127.0.0.1", 80) + bytes(12))
    assert bindings.decide(crossed, OWN) == Refuse(errno.EAFNOSUPPORT)
    other = plain(socket.AF_VSOCK, name("0.0.0.0", 80))
    assert bindings.decide(other, OWN) == Refuse(errno.EAFNOSUPPORT)


def test_names_of_unix_sockets_are_free_but_for_the_platforms() -> None:
    def unix(text: bytes) -> Asked:
        return plain(socket.AF_UNIX, struct.pack("=H", socket.AF_UNIX) + text)

    assert bindings.decide(unix(b"\0bessemer-network-9"), OWN) == Refuse(errno.EADDRINUSE)
    for free in (b"\0mine", b"/tmp/bessemer-network-9", b"bessemer-network-9\0"):
        assert bindings.decide(unix(free), OWN) == Bind(unix(free).name)


def test_a_socket_that_listens_without_a_name_gets_one_of_the_pod() -> None:
    assert bindings.any_port(ask("0.0.0.0", 0), OWN) == Bind(name("127.9.128.7", 0))
    assert bindings.any_port(ask("::", 0), OWN) == Bind(name("::ffff:127.9.128.7", 0))


@pytest.mark.parametrize(
    ("asked", "places"),
    [
        ("127.0.0.1", ("127.9.160.7", "127.9.128.7")),
        ("0.0.0.0", ("127.9.160.7", "127.9.128.7")),
        ("::1", ("::ffff:127.9.192.7", "::ffff:127.9.128.7")),
        ("::", ("::ffff:127.9.192.7", "::ffff:127.9.128.7")),
        ("::ffff:127.0.0.1", ("::ffff:127.9.160.7", "::ffff:127.9.128.7")),
        ("127.9.128.8", ()),
        ("127.9.0.10", ()),
        ("10.0.0.1", ()),
        ("2001:db8::1", ()),
    ],
)
def test_localhost_is_looked_for_in_the_pod_first(asked: str, places: tuple[str, ...]) -> None:
    found = bindings.reach(name(asked, 8080), OWN)

    assert [place for _, place in found] == [name(place, 8080) for place in places]
    assert [address for address, _ in found] == [
        socket.inet_aton(place.removeprefix("::ffff:")) for place in places
    ]


def test_what_is_no_name_of_the_network_is_reached_as_it_is() -> None:
    for other in (
        b"\x01\0/tmp/x-and-more-than-that",
        bytes(16),
        b"\x02\0\0",
        b"\x0a\0" + bytes(9),
    ):
        assert bindings.reach(other, OWN) == []
