"""What a supervisor makes of what is said on its lines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bessemer.launcher.protocol import Line, pair
from bessemer.launcher.supervisor import _hear_end

KILLED = {"code": 137, "signal": 9, "start_error": ""}


@pytest.fixture
def ends() -> Iterator[tuple[Line, Line]]:
    both = pair()
    yield both
    for one in both:
        one.connection.close()


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (b'{"ended": 768}', {"code": 3, "signal": 0, "start_error": ""}),
        (b'{"ended": 15}', {"code": 143, "signal": 15, "start_error": ""}),
        (b'{"failed": "no", "code": 127}', {"code": 127, "signal": 0, "start_error": "no"}),
    ],
)
def test_an_end_is_taken_as_it_is(
    ends: tuple[Line, Line], said: bytes, wanted: dict[str, object]
) -> None:
    one, other = ends
    one.connection.sendall(said + b"\n")

    assert _hear_end(other) == wanted


@pytest.mark.parametrize(
    "said",
    [
        b'{"nope": 1}', b'{"ended": "0"}', b'{"ended": null}', b'{"ended": -1}',
        b'{"ended": 4951}', b'{"ended": 65536}', b'{"ended": 1e400}', b'{"ended": 1.5}',
        b'{"ended": [0]}', b'{"failed": "x"}', b'{"failed": {}, "code": 1}',
        b'{"failed": "x", "code": 99999999999999999999}', b"[]", b"\x00", b'{"ended": 0',
    ],
)  # fmt: skip
def test_anything_else_is_a_broken_container(ends: tuple[Line, Line], said: bytes) -> None:
    one, other = ends
    one.connection.sendall(said + b"\n")

    assert _hear_end(other) == KILLED


def test_a_closed_line_is_one_too(ends: tuple[Line, Line]) -> None:
    one, other = ends
    assert _hear_end(other) is None
    one.connection.close()

    assert _hear_end(other) == KILLED


def test_a_long_reason_is_cut(ends: tuple[Line, Line]) -> None:
    one, other = ends
    one.send({"failed": "x" * 50_000, "code": 1})
    heard = _hear_end(other)

    assert heard is not None
    assert len(heard["start_error"]) == 4096
