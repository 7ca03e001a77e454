"""The stored objects of a home that no control plane runs on."""

from __future__ import annotations

import asyncio

from bessemer.app.embedded import open_store
from bessemer.base.home import Home
from bessemer.resources import meta


def read_phases(home: Home) -> dict[str, str]:
    """The phase of every pod, by uid."""
    if not home.objects.exists():
        return {}
    return asyncio.run(_read_phases(home))


async def _read_phases(home: Home) -> dict[str, str]:
    store = open_store(home)
    try:
        return {
            meta.uid(record.object): str(meta.dig(record.object, "status.phase", "Pending"))
            for record in store.list("pods")
        }
    finally:
        await store.close()
