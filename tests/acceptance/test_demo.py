"""``make demo`` as README says: the whole job, exit code 0, nothing left running."""

import os
import re
import subprocess
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(600)
def test_make_demo_ends_well_and_leaves_nothing_running() -> None:
    if not (ROOT / ".uv" / "bin" / "uv").exists():
        pytest.skip("uv is not in .uv: run the tests by `make test`, which puts it there")
    env = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}

    done = subprocess.run(
        ["make", "demo"], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )

    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    shares = re.findall(
        r"(\S+): ([\d.]+)% of the answers, accuracy (\S+) over the wire, (\S+) in", said
    )
    assert len(shares) == 2, said
    assert all(wire == pipeline for _, _, wire, pipeline in shares)
    canary = min(float(share) for _, share, _, _ in shares)
    assert 6 <= canary <= 14, "10 % of 1 000 requests, within four standard deviations"
    assert "came from the cache; run again: tell" in said
    home = str(ROOT / ".bessemer" / "demo")
    left = [
        process.pid
        for process in psutil.process_iter()
        if any(home in word for word in _words(process))
    ]
    assert left == []


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
