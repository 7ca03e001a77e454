"""Environments of official clients in the versions that users have; kept between test runs."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import tempfile
from pathlib import Path

import pytest
import uv

PYTHON = "3.11"
BUILD_SECONDS = 150


def make_python(*packages: str) -> Path:
    """A Python with these packages, from the index; the test is skipped where there is none."""
    name = re.sub(r"[^a-zA-Z0-9.]+", "-", "-".join(packages))
    folder = Path(tempfile.gettempdir()) / f"bessemer-test-clients-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    python = folder / name / "bin" / "python"
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / f"{name}.done").exists():
            tool = uv.find_uv_bin()
            _run(tool, "venv", "--quiet", "--clear", "--python", PYTHON, str(folder / name))
            _run(tool, "pip", "install", "--quiet", "--python", str(python), *packages)
            (folder / f"{name}.done").touch()
    return python


def _run(*command: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"no environment from the index here: {done.stderr.strip()[-300:]}")
