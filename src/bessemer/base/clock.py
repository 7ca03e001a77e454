"""Where time comes from: handed in, so that plans and tests choose it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

#: The bounds of what can be written as a time. What would lie beyond them lies on them.
EARLIEST = datetime(1, 1, 1, tzinfo=UTC)
LATEST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


# Times in objects are of whole seconds.
_WHOLE_SECOND = 1.0


class Clock(Protocol):
    """Wall time for people and objects, monotonic time for durations."""

    def now(self) -> datetime:
        """The wall time, timezone-aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait that long."""
        ...


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        """The machine's wall time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """The machine's monotonic time, in seconds."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait that many seconds on the event loop."""
        await asyncio.sleep(seconds)


def later(moment: datetime, seconds: float) -> datetime:
    """That many seconds after the moment, or before it; LATEST or EARLIEST if that is no date.

    Seconds that somebody declared are added by this alone: the API takes up to 2^63 of them.
    """
    try:
        found = moment + timedelta(seconds=seconds)
    except OverflowError:
        return LATEST if seconds > 0 else EARLIEST
    return min(max(found, EARLIEST), LATEST)


def remaining(since: datetime, seconds: float, now: datetime) -> float:
    """The seconds that are left of a wait of that many, which began then; 0 or less: it is over.

    One that begins in the future is over, for the wall clock was set back since: nobody waits for
    hours because of that. Only for waits which may as well be short, never for rights.
    """
    if (since - now).total_seconds() > _WHOLE_SECOND:
        return 0.0
    return (later(since, seconds) - now).total_seconds()


class Steps:
    """By how much somebody has set the wall clock, from look to look.

    Who keeps moments of it to wait for moves them along: what is waited for is time, not a date.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead = self._measure()

    def take(self) -> timedelta | None:
        """The step since the last look; None where the clock only went on."""
        before, self._ahead = self._ahead, self._measure()
        step = self._ahead - before
        return timedelta(seconds=step) if abs(step) > _WHOLE_SECOND else None

    def _measure(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic()


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with whole seconds, as metav1.Time: ``2026-11-23T18:40:01Z``."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")[:19] + "Z"


def format_micro_time(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds, as metav1.MicroTime."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"


def parse_time(text: str) -> datetime:
    """Read metav1.Time or MicroTime; the result is timezone-aware.

    Raises:
        ValueError: the text is no RFC 3339 time.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(
            f"a time needs a zone, but got {text!r}; write it as 2026-11-23T18:40:01Z"
        )
    return moment
