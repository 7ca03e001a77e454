"""Programs of the server's that work on strangers' archives: bounded in what they take.

An archive may unpack to any size, never end, or be made to fill the memory of whoever reads it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bessemer.base.clock import Clock
from bessemer.cluster.kubelet.errors import BuildFailure

_LOOK_SECONDS = 0.1
_LITTLE_BYTES = 64 << 20
_PROC = Path("/proc")


@dataclass(frozen=True)
class Bounds:
    """The most that one program takes, and that one environment holds.

    The largest deep learning stacks have a tenth of the files and a third of the bytes.
    """

    memory: int = 4 << 30  # bytes, as all below
    file: int = 16 << 30
    written: int = 32 << 30  # while an archive is unpacked, by all of one program
    room: int = 128 << 20  # left of the disk to others, once it has written more than a little
    seconds: float = 3600.0
    files: int = 400_000
    size: int = 32 << 30  # of all files together


@dataclass(frozen=True)
class Order:
    """What to run, where, and with which descriptors."""

    arguments: Sequence[str | Path]
    env: Mapping[str, str]
    folder: Path
    held: int | None = None


@dataclass(frozen=True)
class Ended:
    """How a program that was run ended."""

    code: int
    output: str
    errors: str


async def run(order: Order, bounds: Bounds, clock: Clock) -> Ended:
    """Run a program to its end; all that it started ends with it.

    Raises:
        BuildFailure: it took more than it may.
    """
    process = await asyncio.create_subprocess_exec(
        *order.arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=order.env,
        cwd=order.folder,
        pass_fds=() if order.held is None else (order.held,),
        start_new_session=True,
    )
    _limit(process.pid, bounds)
    reading = asyncio.create_task(process.communicate())
    try:
        fault = await _watch(process.pid, reading, order.folder, bounds, clock)
    except BaseException:
        await _end(process, reading)
        raise
    if fault:
        await _end(process, reading)
        raise BuildFailure(fault)
    output, errors = reading.result()
    return Ended(process.returncode or 0, _text(output), _text(errors))


async def _watch(
    pid: int,
    reading: asyncio.Task[tuple[bytes, bytes]],
    folder: Path,
    bounds: Bounds,
    clock: Clock,
) -> str:
    """Wait for its end, "", or until it has taken too much: what."""
    began = clock.monotonic()
    while True:
        done, _ = await asyncio.wait({reading}, timeout=_LOOK_SECONDS)
        if done:
            return ""
        written = _written(pid)
        if written > bounds.written:
            return (
                f"packages may unpack to {bounds.written >> 20} MiB, but these are larger; "
                "name fewer or smaller ones"
            )
        if written > _LITTLE_BYTES and shutil.disk_usage(folder).free < bounds.room:
            return (
                f"an installation leaves {bounds.room >> 20} MiB of the disk free, but it took "
                f"{written >> 20} MiB and less is left; make room, or name smaller packages"
            )
        if clock.monotonic() - began > bounds.seconds:
            return f"an installation may take {bounds.seconds / 60:.0f} minutes, but took longer"


def _written(pid: int) -> int:
    """The bytes that a process has written by now; 0 where the machine does not tell."""
    try:
        text = (_PROC / str(pid) / "io").read_text()
    except OSError:
        return 0
    fields = dict(line.split(": ") for line in text.splitlines())
    return int(fields.get("wchar", 0))


def _limit(pid: int, bounds: Bounds) -> None:
    if not hasattr(resource, "prlimit"):
        return
    with contextlib.suppress(ProcessLookupError, PermissionError, ValueError):
        for kind, most in (
            (resource.RLIMIT_DATA, bounds.memory),
            (resource.RLIMIT_FSIZE, bounds.file),
            (resource.RLIMIT_CORE, 0),
        ):
            _, hard = resource.prlimit(pid, kind)
            bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.prlimit(pid, kind, (bound, bound))


async def _end(
    process: asyncio.subprocess.Process, reading: asyncio.Task[tuple[bytes, bytes]]
) -> None:
    # Its session is its own, so its children are the rest of its group.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await process.wait()


def _text(data: bytes) -> str:
    return data.decode(errors="replace")
