"""The logs of pods that are gone, as files of this machine: ``<run id>/<pod name>.log``.

Pods can't reach the folder, so that none of them leads a reader to other files by a link.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from bessemer.artifacts.store import Missing

_PIECE = 1 << 16  # bytes


class DiskLogs:
    """A ``LogArchive`` in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def keep(self, run_id: str, name: str, pieces: AsyncIterator[bytes]) -> None:
        """See the port."""
        file = self._file(run_id, name)
        draft = file.with_name(f".{name}.{secrets.token_hex(8)}")
        await asyncio.to_thread(file.parent.mkdir, parents=True, exist_ok=True)
        try:
            with draft.open("wb") as out:
                async for piece in pieces:
                    await asyncio.to_thread(out.write, piece)
                await asyncio.to_thread(_settle, out)
            draft.replace(file)
        finally:
            draft.unlink(missing_ok=True)

    async def read(
        self, run_id: str, name: str, *, tail_lines: int | None = None
    ) -> AsyncIterator[bytes]:
        """See the port."""
        try:
            kept = self._file(run_id, name).open("rb")
        except FileNotFoundError:
            raise Missing(f"no log of pod {name} of run {run_id} is kept") from None
        with kept:  # in pieces: a log may be larger than memory
            if tail_lines is not None:
                await asyncio.to_thread(_seek_tail, kept, tail_lines)
            while piece := await asyncio.to_thread(kept.read, _PIECE):
                yield piece

    async def forget(self, run_id: str) -> None:
        """See the port."""
        await asyncio.to_thread(shutil.rmtree, self._folder / run_id, ignore_errors=True)

    def _file(self, run_id: str, name: str) -> Path:
        return self._folder / run_id / f"{name}.log"


def _settle(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _seek_tail(file: BinaryIO, lines: int) -> None:
    """Go to where a file's last lines begin."""
    end = file.seek(0, os.SEEK_END)
    at, left = max(end - 1, 0), lines  # the last line's own end begins no other
    while at and left:
        size = min(_PIECE, at)
        at = file.seek(at - size)
        piece = file.read(size)
        found = size
        while (found := piece.rfind(b"\n", 0, found)) >= 0:
            left -= 1
            if not left:
                file.seek(at + found + 1)
                return
    file.seek(0 if lines else end)
