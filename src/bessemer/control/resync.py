"""When each key is looked at again though nothing changed: a missed wake-up is only a delay. Pure.

Source: client-go tools/cache (resync), controller-runtime cache.Options.SyncPeriod.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from bessemer.control.reconcile import Key

#: Seconds within which a controller looks at all of its keys once.
RESYNC_SECONDS = 600.0
# A key's part of the period is the same in each, so that two looks are one period apart.
_PARTS = 100


def spread(keys: Iterable[Key], seconds: float) -> list[tuple[float, list[Key]]]:
    """The keys by the moment of their look, in seconds from the period's begin; early ones first.

    A key's name tells its moment, so that the looks of many are spread over the whole period.
    """
    parts: dict[int, list[Key]] = {}
    for key in set(keys):
        parts.setdefault(zlib.crc32(str(key).encode()) % _PARTS, []).append(key)
    return [(part * seconds / _PARTS, parts[part]) for part in sorted(parts)]
