"""What load takes comes back, and no client makes the control plane hold much for it."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import harness

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"
OBJECTS = 300  # of 4 kB: more than the buffers of a watch and its connection
WATCHES = 60
#: Bytes of the control plane that a watch may cost whose client reads nothing.
PER_WATCH = 200_000


def test_a_watch_that_nobody_reads_costs_little(bessemer: harness.Running) -> None:
    for number in range(OBJECTS):
        body = {"metadata": {"name": f"large-{number}"}, "data": {"text": "x" * 4000}}
        bessemer.create("/api/v1/namespaces/default/configmaps", body)
    listed = bessemer.get("/api/v1/namespaces/default/configmaps")["items"]
    assert sum(len(item["data"].get("text", "")) for item in listed) == 4000 * OBJECTS
    tls = ssl.create_default_context(cafile=str(bessemer.ca))
    before = resident(bessemer)
    with contextlib.ExitStack() as stack:
        for _ in range(WATCHES):
            connection = http.client.HTTPSConnection(
                harness.HOST, bessemer.port, timeout=30, context=tls
            )
            stack.enter_context(contextlib.closing(connection))
            connection.request(
                "GET",
                "/api/v1/configmaps?watch=1",
                headers={"Authorization": f"Bearer {bessemer.token}"},
            )
            assert connection.getresponse().readline()
        assert (resident(bessemer) - before) / WATCHES < PER_WATCH


def resident(bessemer: harness.Running) -> int:
    """Bytes of the control plane in memory."""
    return int(psutil.Process(bessemer.pid).memory_info().rss)


@pytest.mark.long
@pytest.mark.timeout(900)
@harness.needs_sdks
def test_after_a_minute_of_load_everything_comes_back() -> None:
    done = subprocess.run(
        [sys.executable, str(SOAK), "--minutes", "1"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
