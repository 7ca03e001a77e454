"""Times of any size."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bessemer.base.clock import format_time, later


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
