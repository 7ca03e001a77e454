"""A pod that took the platform's port is named by the next start (without a sandbox it can)."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import harness

_TAKES = """
import socket
import time
first, told = {first}, {told!r}
taken = None
while taken is None:
    try:
        taken = socket.create_server(("127.0.0.1", first))
    except OSError:  # the platform has it still
        time.sleep(0.01)
open(told, "w").write("taken")
while True:
    taken.accept()[0].close()
"""


@pytest.mark.timeout(120)
def test_a_pod_on_a_port_of_the_platform_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BESSEMER_RUNTIME", "process")
    told = tmp_path / "told"
    os.mkfifo(told)
    with harness.bessemer(tmp_path) as running:
        script = _TAKES.format(first=running.port, told=str(told))
        main = {"name": "main", "image": "python:3.11", "command": ["python3", "-c", script]}
        pods = "/api/v1/namespaces/default/pods"
        running.create(pods, {"metadata": {"name": "taker"}, "spec": {"containers": [main]}})
        running.until(pods, lambda found: found[0].get("status", {}).get("phase") == "Running")
        (init,) = (pid for folder, pid in running.pod_pids().items() if "/main/" in folder)

        running.kill9()
        assert told.read_text() == "taken"
        ended = harness.run("up", "--home", str(running.home))
        os.kill(init, signal.SIGKILL)
        running.restart()

    assert ended.code == 1
    assert f"port {running.port} (the API) must be free, but pod default/taker (pid" in ended.err
