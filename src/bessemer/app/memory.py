"""Giving memory back to the system: what the C library does by itself, and what it has to be told.

After a load all its objects are gone, but glibc keeps their pages: those of large buffers because
it raises its own thresholds with each one that is freed, the others because something small still
lies behind them. On other C libraries nothing of this is there, and nothing is done.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
from collections.abc import Callable
from pathlib import Path

from bessemer.base import logs
from bessemer.base.clock import Clock
from bessemer.base.logs import fields

_log = logs.get(__name__)

# Of mallopt(3), as malloc.h numbers them.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
# Bytes from which on a buffer is a mapping of its own, which goes back when it is freed. glibc
# begins with 128 KiB and goes up to 32 MiB by itself, until it is told a value.
_OWN_MAPPING = 512 * 1024
# Bytes that may lie free at a heap's end.
_FREE_END = 1024 * 1024
# Heaps for all threads together: one each (8 a core) would keep what its busiest moment took, and
# Python's lock lets few threads allocate at the same time.
_HEAPS = 2

# Seconds between two looks, and how many bytes more than after the last giving back are worth one.
_LOOK_SECONDS = 10.0
_WORTH = 8 * 1024 * 1024
# Seconds of standing still that the collector may cost; where it takes longer (there are hundreds
# of thousands of objects), only Python itself says when.
_PAUSE_SECONDS = 0.05

_STATM = Path("/proc/self/statm")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def set_up() -> None:
    """Have large buffers go back at once, and threads share heaps; before threads start."""
    mallopt = _glibc("mallopt")
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _OWN_MAPPING)
        mallopt(_M_TRIM_THRESHOLD, _FREE_END)
        mallopt(_M_ARENA_MAX, _HEAPS)


def _glibc(name: str) -> Callable[..., int] | None:
    """A function that only glibc has; None on other systems."""
    try:
        found: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):  # macOS, musl
        return None
    return found


class GivingBack:
    """Gives back what is free whenever the process has grown.

    Args:
        clock: the time.
        resident: bytes that the process has in memory.
        trim: gives back what is free; it is called in a thread, and costs milliseconds.
    """

    def __init__(
        self, clock: Clock, resident: Callable[[], int], trim: Callable[[], object]
    ) -> None:
        self._clock = clock
        self._resident = resident
        self._trim = trim
        self._floor = 0  # bytes after the last time, or less
        self._collects = True

    async def run(self) -> None:
        """Look every few seconds, for ever."""
        while True:
            await self._clock.sleep(_LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Give back, if it is worth it."""
        before = self._resident()
        self._floor = min(self._floor, before)
        if before - self._floor < _WORTH:
            return
        if self._collects:
            self._collect()
        await asyncio.to_thread(self._trim)
        self._floor = self._resident()
        _log.debug("memory given back", extra=fields(before=before, after=self._floor))

    def _collect(self) -> None:
        """What refers to itself in a circle is free, too: errors hold the frames they rose in."""
        begun = self._clock.monotonic()
        gc.collect()
        self._collects = self._clock.monotonic() - begun < _PAUSE_SECONDS


def giving_back(clock: Clock) -> GivingBack | None:
    """Of this process; None where the system has no way to do it."""
    malloc_trim = _glibc("malloc_trim")
    if malloc_trim is None or not _STATM.exists():
        return None
    return GivingBack(clock, resident, lambda: malloc_trim(0))


def resident() -> int:
    """Bytes that this process has in memory."""
    return int(_STATM.read_bytes().split()[1]) * _PAGE
