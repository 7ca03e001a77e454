"""The end of all pods with the control plane's own, and whether any outlived an earlier one.

Their objects stay, and what was interrupted is started again with the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path

from bessemer.base import logs
from bessemer.base.home import Home
from bessemer.cluster.kubelet.pods.attempts import INTERRUPTED
from bessemer.cluster.kubelet.runtime.base import ContainerState, Runtime, RuntimeFailure
from bessemer.cluster.kubelet.volumes import memory

_log = logs.get(__name__)

GRACE = 8.0  # seconds from SIGTERM to SIGKILL
_LAST = 5.0  # seconds that the kernel gets for the rest


def attempts(home: Home) -> list[Path]:
    """The folders of all container attempts."""
    return list(home.pods.glob("*/containers/*/*"))


def running(runtime: Runtime, home: Home) -> list[Path]:
    """The attempts that run now."""
    return [
        folder
        for folder in attempts(home)
        if runtime.observe(folder).state is ContainerState.RUNNING
    ]


async def end_pods(runtime: Runtime, home: Home, grace: float = GRACE) -> None:
    """SIGTERM to all, SIGKILL to those that don't heed it, and wait until none is left."""
    left = running(runtime, home)
    for folder in left:
        # Before the signal: a crash in between loses no step. On a full disk it may be lost.
        with contextlib.suppress(OSError):
            (folder / INTERRUPTED).touch()
    for signum, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, _LAST)):
        if not left:
            break
        await asyncio.gather(*(_send(runtime, folder, signum) for folder in left))
        waits = [asyncio.ensure_future(runtime.wait(folder)) for folder in left]
        _, pending = await asyncio.wait(waits, timeout=patience)
        for wait in pending:
            wait.cancel()
        left = running(runtime, home)
    for folder in left:
        _log.error("container did not end", extra=logs.fields(folder=folder))
    if not left:
        memory.remove(home)


async def _send(runtime: Runtime, folder: Path, signum: int) -> None:
    try:
        await runtime.signal(folder, signum)
    except RuntimeFailure as error:  # it ended in between
        _log.debug("signal not sent", extra=logs.fields(folder=folder, reason=str(error)))
