"""Times of any size."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bessemer.base.clock import Steps, SystemClock, format_time, later, remaining


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (1, "2026-01-01T00:00:01Z"),
        (10**12, "9999-12-31T23:59:59Z"),
        (2**63, "9999-12-31T23:59:59Z"),
        (float("inf"), "9999-12-31T23:59:59Z"),
        (-(10**12), "0001-01-01T00:00:00Z"),
        (-(2**63), "0001-01-01T00:00:00Z"),
    ],
)
def test_no_number_of_seconds_leads_out_of_time(seconds: float, expected: str) -> None:
    assert format_time(later(datetime(2026, 1, 1, tzinfo=UTC), seconds)) == expected


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("began", "left"),
    [(0, 300.0), (-100, 200.0), (-400, -100.0), (7200, 0.0), (1, 301.0)],
)
def test_a_wait_that_begins_in_the_future_is_over(began: int, left: float) -> None:
    assert remaining(later(NOON, began), 300, NOON) == left


class Hands(SystemClock):
    """Both clocks as a test sets them."""

    def __init__(self) -> None:
        self.wall, self.ticks = NOON, 0.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.ticks


def test_a_step_of_the_wall_clock_is_told_once() -> None:
    clock = Hands()
    steps = Steps(clock)
    clock.wall, clock.ticks = later(NOON, 60), 60.0
    assert steps.take() is None
    clock.wall, clock.ticks = later(NOON, 70 - 7200), 70.0
    assert steps.take() == timedelta(hours=-2)
    assert steps.take() is None
