"""Pod folders made ahead, so that no pod waits until the disk has made a dozen files for it.

Most file systems make a file in some microseconds, but not all do always: ext4 without a journal
passes over each inode that was freed in the last minutes, which costs half a millisecond a file
where much is deleted. A spare is renamed, which makes nothing.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from bessemer.base import logs
from bessemer.base.ids import make_uid
from bessemer.base.logs import fields
from bessemer.cluster.kubelet.pods import addresses
from bessemer.cluster.kubelet.runtime.base import Runtime

_log = logs.get(__name__)
_KEPT = 4  # spares: as many pods as start at once, before the first new spare is there
#: Beside the containers' folders: the one for the first of them, made ahead. No container's name.
SPARE = ".spare"


def attempts_folder(pod: Path) -> Path:
    """Where the attempts of a pod are, in its folder."""
    return pod / "containers"


class Spares:
    """The folders that are made before pods need them.

    Args:
        root: where they lie, on the file system of the pods' folders.
    """

    def __init__(self, root: Path, runtime: Runtime) -> None:
        self._root = root
        self._runtime = runtime
        self._ready: list[Path] = []
        self._wake = asyncio.Event()

    def give(self, pod: Path) -> None:
        """Make a pod's folder, of a spare one if there is one."""
        if pod.exists():
            return
        pod.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._ready.pop().rename(pod)
        except (IndexError, FileNotFoundError):  # none is left, or somebody tidied up
            pod.mkdir(mode=0o700)
        self._wake.set()

    async def run(self) -> None:
        """Keep some folders ready, for ever."""
        await asyncio.to_thread(shutil.rmtree, self._root, ignore_errors=True)
        while True:
            self._wake.clear()
            try:
                while len(self._ready) < _KEPT:
                    path = self._root / make_uid()
                    await asyncio.to_thread(self._make, path)
                    self._ready.append(path)
            except OSError as error:  # pods then make their own, and say what is wrong
                _log.debug("no spare folder", extra=fields(reason=str(error)))
            await self._wake.wait()

    def _make(self, pod: Path) -> None:
        pod.mkdir(parents=True, mode=0o700)
        (pod / addresses.FILE).touch()
        attempt = attempts_folder(pod) / SPARE / "0"
        attempt.mkdir(parents=True)
        self._runtime.lay_out(attempt)
