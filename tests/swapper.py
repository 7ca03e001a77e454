"""A program that turns a folder into a link and back, as fast as it can."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PROGRAM = """
import ctypes, os, sys
os.chdir(sys.argv[1])
exchange = ctypes.CDLL(None).renameat2
arguments = (-100, b"d", -100, b"link", 2)  # AT_FDCWD, RENAME_EXCHANGE
print("up", flush=True)
while exchange(*arguments) == 0:
    pass
"""


@contextmanager
def swapping(volume: Path, outside: Path) -> Iterator[None]:
    """While this lasts, the volume's folder "d" is now itself and now a link to the outside."""
    (volume / "d").mkdir(exist_ok=True)
    (volume / "link").symlink_to(outside)
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(volume)], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        assert process.poll() is None  # it swapped to the end
    finally:
        process.kill()
        process.communicate()
