"""What this machine can do for pods, found out by trying it: for ``bessemer doctor``."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

from bessemer.base.clock import SystemClock
from bessemer.cluster.kubelet.runtime import choose
from bessemer.cluster.kubelet.runtime.cgroups import find_cgroups


def runtime() -> tuple[str, str]:
    """The runtime's name, and why it is that one."""
    return asyncio.run(_runtime())


async def _runtime() -> tuple[str, str]:
    with tempfile.TemporaryDirectory(prefix="bessemer-doctor-") as folder:
        choice = await choose.choose(Path(folder), _name())
        await choice.runtime.close()
    choice.cgroups.remove(SystemClock().now())
    return choice.runtime.name, choice.reason


def held_limits() -> list[str]:
    """What cgroups of ours can limit: memory, cpu, pids."""
    found = find_cgroups(_name())
    found.remove(SystemClock().now())
    return list(found.folders)


def _name() -> str:
    return f"bessemer-doctor-{os.getpid()}"
