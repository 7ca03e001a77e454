"""Who has to go when a port's table is full, and when a connection took too long."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from bessemer.app.connections import Limits, Phase, Table, Visit, limits_of

LIMITS = Limits(connections=4)


class Line:
    """A client's end that notes when it is cut."""

    def __init__(self) -> None:
        self.is_cut = False
        self.is_heard = True

    def cut(self) -> None:
        self.is_cut = True


@pytest.fixture
def end() -> Iterator[socket.socket]:
    with socket.socket() as opened:
        yield opened


def come(table: Table, end: socket.socket, peer: str = "127.0.0.1", now: float = 0) -> Visit:
    visit = table.admit(end, peer, now)
    assert visit is not None
    visit.line = Line()
    visit.enter(Phase.HEAD, now)
    return visit


def is_cut(visit: Visit) -> bool:
    assert isinstance(visit.line, Line)
    return visit.line.is_cut


def test_the_oldest_without_a_token_goes_first(end: socket.socket) -> None:
    table = Table(LIMITS)
    first, second, third, last = (come(table, end, peer) for peer in "abcd")
    table.trust(first)
    second.enter(Phase.ANSWER, 0)

    newcomer = come(table, end, "e")

    assert [is_cut(each) for each in (first, second, third, last, newcomer)] == [
        False, False, True, False, False,
    ]  # fmt: skip
    assert len(table) == 4


def test_then_the_longest_idle_and_never_who_is_being_answered(end: socket.socket) -> None:
    table = Table(LIMITS)
    known = [come(table, end, peer) for peer in "abcd"]
    for visit in known:
        table.trust(visit)
        visit.enter(Phase.ANSWER, 0)
    assert table.admit(end, "e", 0) is None

    table.rest(known[2], 1)
    table.rest(known[1], 2)
    come(table, end, "f")

    assert [is_cut(visit) for visit in known] == [False, False, True, False]


def test_one_address_has_half_the_places(end: socket.socket) -> None:
    table = Table(LIMITS)
    crowd = [come(table, end, "a") for _ in range(5)]
    other = come(table, end, "b")

    assert [is_cut(visit) for visit in crowd] == [True, True, True, False, False]
    assert not is_cut(other)


@pytest.mark.parametrize(
    ("phase", "size", "seconds"),
    [
        (Phase.GREETING, 0, 10), (Phase.HEAD, 0, 10), (Phase.BODY, 0, 30),
        (Phase.BODY, 10_240, 40), (Phase.REST, 0, 10), (Phase.IDLE, 0, 75),
    ],
)  # fmt: skip
def test_each_phase_has_its_time(
    end: socket.socket, phase: Phase, size: int, seconds: float
) -> None:
    table = Table(LIMITS)
    visit = come(table, end)
    visit.enter(phase, 100)
    visit.size = size

    table.sweep(100 + seconds)
    assert not is_cut(visit)
    table.sweep(100.1 + seconds)
    assert is_cut(visit)
    assert len(table) == 0


def test_an_answer_and_a_body_that_waits_for_us_have_all_the_time(end: socket.socket) -> None:
    table = Table(LIMITS)
    answered, unheard = come(table, end), come(table, end)
    answered.enter(Phase.ANSWER, 0)
    unheard.enter(Phase.BODY, 0)
    assert isinstance(unheard.line, Line)
    unheard.line.is_heard = False

    table.sweep(1e9)

    assert not is_cut(answered)
    assert not is_cut(unheard)


def test_limits_follow_from_the_descriptors() -> None:
    assert limits_of(1024).connections == 128
    assert limits_of(20_000).connections == 4096
    assert limits_of(256).connections == 32
