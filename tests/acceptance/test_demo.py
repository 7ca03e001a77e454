"""``make demo`` as README says: the whole job, exit code 0, nothing left running."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import harness

ROOT = Path(__file__).resolve().parents[2]
DEMO = [sys.executable, str(ROOT / "scripts" / "demo.py")]
# The demo's home is one: two tests at a time would meet there.
pytestmark = pytest.mark.xdist_group("demo")


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
    assert left_running() == []


@harness.needs_sdks
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_demo_that_is_broken_off_leaves_nothing_running(signum: signal.Signals) -> None:
    with subprocess.Popen(
        DEMO, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stdout is not None
        assert demo.stdout.readline().startswith("Bessemer is ready")
        demo.send_signal(signum)
        _, problems = demo.communicate(timeout=harness.STOP_SECONDS)

    assert (demo.returncode, problems) == (128 + signum, "")
    assert left_running() == []


@harness.needs_sdks
def test_a_second_demo_leaves_the_first_alone() -> None:
    with subprocess.Popen(DEMO, cwd=ROOT, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline().startswith("Bessemer is ready")
        second = subprocess.run(DEMO, cwd=ROOT, capture_output=True, text=True, check=False)
        status = ["status", "--home", str(ROOT / ".bessemer" / "demo")]
        still = subprocess.run([harness.PROGRAM, *status], capture_output=True, check=False)
        first.terminate()
        first.communicate(timeout=harness.STOP_SECONDS)

    assert second.returncode == 1
    assert "An earlier demo still runs; end it:" in second.stdout
    assert still.returncode == 0
    assert left_running() == []


def left_running() -> list[int]:
    """The pids of what names the demo's home."""
    home = str(ROOT / ".bessemer" / "demo")
    return [
        process.pid
        for process in psutil.process_iter()
        if any(home in word for word in _words(process))
    ]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
