"""A pod's attempts on disk: ``containers/<name>/<number>/``, the last two of each container."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from pathlib import Path

from bessemer.base import trees
from bessemer.cluster.kubelet.pods.plan import Attempt
from bessemer.cluster.kubelet.pods.preparation import fallback_message
from bessemer.cluster.kubelet.pods.spares import SPARE, attempts_folder
from bessemer.cluster.kubelet.runtime.base import Runtime
from bessemer.cluster.kubelet.runtime.launched import OWN_FOLDERS
from bessemer.kinds.kind import Object

#: In an attempt's folder: the control plane ended it with itself, so it is to be started again.
INTERRUPTED = "interrupted"


def is_number(name: str) -> bool:
    """Whether a file's name is an attempt's number."""
    return name.isascii() and name.isdecimal() and len(name) < 10


class Attempts:
    """The attempts of one pod.

    Args:
        root: the pod's folder.
        specs: its containers by name.
    """

    def __init__(self, root: Path, specs: Mapping[str, Object], runtime: Runtime) -> None:
        self._root = attempts_folder(root)
        self._specs = specs
        self._runtime = runtime

    def folder(self, name: str, number: int) -> Path:
        """Where an attempt is, or is to be."""
        return self._root / name / str(number)

    def make(self, name: str, number: int) -> Path:
        """Make the folder of an attempt; a pod's first one may have been made ahead."""
        folder = self.folder(name, number)
        spare = self._root / SPARE
        if number == 0 and not folder.parent.exists() and spare.exists():
            spare.rename(folder.parent)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def read(self, name: str, number: int) -> Attempt:
        """An attempt as its folder tells it now."""
        folder = self.folder(name, number)
        seen = self._runtime.observe(folder)
        policy = self._specs[name].get("terminationMessagePolicy")
        if policy == "FallbackToLogsOnError" and seen.exit_code and not seen.message:
            seen = dataclasses.replace(seen, message=fallback_message(folder))
        return Attempt(number, seen, (folder / INTERRUPTED).exists())

    def last(self, name: str) -> list[Attempt]:
        """The last one or two that an earlier agent left, in order."""
        folder = self._root / name
        if not folder.is_dir():
            return []
        numbers = sorted(int(each.name) for each in folder.iterdir() if is_number(each.name))
        return [self.read(name, number) for number in numbers[-2:]]

    async def shed(self) -> None:
        """Delete what the attempts of an ended pod had for themselves; their logs stay."""
        for folder in self._root.glob("*/*"):
            for name in OWN_FOLDERS:
                try:
                    (folder / name).rmdir()
                except FileNotFoundError:
                    continue
                except OSError:
                    await asyncio.to_thread(trees.remove, folder / name)

    def forget(self, name: str, number: int) -> None:
        """Delete an attempt whose log nobody can ask for any more."""
        if number >= 0:
            self._runtime.remove(self.folder(name, number))
