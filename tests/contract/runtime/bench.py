"""What tests do to a runtime again and again."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bessemer.cluster.kubelet.runtime.base import ContainerSpec, Observation, Runtime

PATIENCE = 30.0  # seconds; a container that takes longer is stuck


@dataclass
class Bench:
    """A runtime with what tests do to it again and again."""

    runtime: Runtime
    home: Path
    make: Callable[[], Runtime]
    numbers: Any = field(default_factory=itertools.count)

    @property
    def is_sandbox(self) -> bool:
        return self.runtime.name == "sandbox"

    def spec(self, *argv: str, **values: Any) -> ContainerSpec:
        folder = self.home / "pods" / f"c{next(self.numbers)}"
        return ContainerSpec(**{"folder": folder, "argv": argv, "env": {}, **values})

    async def start(self, *argv: str, **values: Any) -> Path:
        spec = self.spec(*argv, **values)
        await self.runtime.start(spec)
        return spec.folder

    async def wait(self, folder: Path) -> Observation:
        async with asyncio.timeout(PATIENCE):
            return await self.runtime.wait(folder)

    async def run(self, *argv: str, **values: Any) -> tuple[Observation, str]:
        folder = await self.start(*argv, **values)
        seen = await self.wait(folder)
        return seen, (folder / "log").read_text()


async def until(check: Callable[[], Any]) -> Any:
    """Wait for something that no descriptor tells of; what the check returned."""
    async with asyncio.timeout(PATIENCE):
        while not (result := check()):  # noqa: ASYNC110 -- files and processes send no event
            await asyncio.sleep(0.01)
    return result


def processes_with(mark: str) -> list[int]:
    """Pids of the processes of this machine whose environment has the mark."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if mark.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
    return found


def read(path: Path) -> str:
    """A file's text."""
    return path.read_text()
