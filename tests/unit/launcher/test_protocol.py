"""Messages are whole, whatever pieces they come in, and carry descriptors."""

from __future__ import annotations

import os
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
