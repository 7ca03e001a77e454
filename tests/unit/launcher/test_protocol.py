"""Messages are whole, whatever pieces they come in, and carry descriptors."""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Iterator

import pytest

from bessemer.launcher.protocol import Closed, Line, pair


@pytest.fixture
def ends() -> Iterator[tuple[Line, Line]]:
    both = pair()
    yield both
    for one in both:
        one.connection.close()


def test_messages_arrive_whole_and_in_order(ends: tuple[Line, Line]) -> None:
    one, other = ends
    one.send({"a": "x" * 100_000})
    one.send({"b": "a line\nand another"})

    assert other.receive() == {"a": "x" * 100_000}
    assert other.receive() == {"b": "a line\nand another"}


def test_descriptors_come_with_their_message(ends: tuple[Line, Line]) -> None:
    one, other = ends
    reader, writer = os.pipe()
    one.send({"take": 1}, (writer,))
    message, descriptors = other.receive_with_descriptors()
    os.write(descriptors[0], b"through")

    assert message == {"take": 1}
    assert os.read(reader, 10) == b"through"
    for descriptor in (reader, writer, *descriptors):
        os.close(descriptor)


@pytest.mark.parametrize("half", [b"", b'{"half": '])
def test_an_end_before_a_whole_message_is_closed(ends: tuple[Line, Line], half: bytes) -> None:
    one, other = ends
    one.connection.sendall(half)
    one.connection.close()

    with pytest.raises(Closed):
        other.receive()
    with pytest.raises(Closed):
        other.send({})


NO_MESSAGES = {
    "words": b"no json", "list": b"[1]", "null": b"null", "text": b'"x"', "nothing": b"",
    "bytes": b"\xff\xfe", "deep": b"[" * 50_000, "number": b"9" * 10_000,
}  # fmt: skip


@pytest.mark.parametrize("name", NO_MESSAGES)
def test_what_is_no_message_is_an_end(ends: tuple[Line, Line], name: str) -> None:
    one, other = ends
    one.connection.sendall(NO_MESSAGES[name] + b"\n")

    with pytest.raises(Closed):
        other.receive_ready()


def test_a_line_without_an_end_is_an_end(ends: tuple[Line, Line]) -> None:
    one, other = ends
    one.connection.setblocking(False)  # noqa: FBT003 -- positional only
    said = 0
    try:
        while said < 2 << 20:
            said += one.connection.send(b"x" * 60_000)
            assert other.receive_ready() is None
    except Closed:
        pass
    assert 1 << 20 <= said < 2 << 20


def test_half_a_message_does_not_make_who_reads_wait(ends: tuple[Line, Line]) -> None:
    one, other = ends
    assert other.receive_ready() is None
    one.connection.sendall(b'{"a":')
    assert other.receive_ready() is None
    with pytest.raises(Closed):
        other.receive(patience=0.01)
    one.connection.sendall(b"1}\n")
    assert other.receive_ready() == {"a": 1}


def test_descriptors_that_nobody_asked_for_are_closed(ends: tuple[Line, Line]) -> None:
    one, other = ends
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(3):
        rights = array.array("i", [0] * 16)
        one.connection.sendmsg([b"{}\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        assert other.receive_ready() == {}
    rights = array.array("i", [0] * 60)
    one.connection.sendmsg([b"no\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    with pytest.raises(Closed):
        other.receive_with_descriptors()

    assert sorted(os.listdir("/proc/self/fd")) == before


def test_the_kernel_tells_who_sent_a_message(ends: tuple[Line, Line]) -> None:
    one, other = ends
    other.ask_for_sender()
    child = os.fork()
    if child == 0:
        one.send({"pid": 1})
        os._exit(0)
    message = other.receive()
    os.waitpid(child, 0)

    assert (message, other.sender) == ({"pid": 1}, child)
