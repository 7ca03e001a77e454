"""However it is asked to end, and whether or not anybody still reads: its pods end with it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import harness

PODS = "/api/v1/namespaces/default/pods"


def start(one: harness.Running, *before: str, out: int) -> subprocess.Popen[bytes]:
    """As ``Running.start``, but its output goes there."""
    command = [*before, str(harness.PROGRAM), "up", "--home", str(one.home)]
    return subprocess.Popen(
        [*command, "--port", str(one.port)],
        stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
    )  # fmt: skip


def read_until_ready(out: int) -> None:
    said = b""
    while b"  runtime " not in said:
        piece = os.read(out, 4096)
        assert piece, said
        said += piece


@pytest.mark.parametrize("module", ["typer", "uvloop"])
def test_ctrl_c_in_the_midst_of_imports_leaves_no_traceback(module: str, tmp_path: Path) -> None:
    """The first is of every command, the second of ``up`` alone; Python tells what it imports."""
    command = [sys.executable, "-X", "importtime", str(harness.PROGRAM), "up", "--home"]
    with subprocess.Popen(
        [*command, str(tmp_path / "home")], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        while f" {module}." not in (line := process.stderr.readline()):
            assert line
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()

    assert process.returncode in (-signal.SIGINT, 130)
    assert [line for line in rest.splitlines() if not line.startswith("import time:")] == []


def test_a_terminal_that_is_closed_ends_all(tmp_path: Path) -> None:
    one = harness.Running(tmp_path / "home")
    master, terminal = pty.openpty()
    with start(one, out=terminal) as process:
        os.close(terminal)
        read_until_ready(master)
        os.close(master)  # from now on each word to it is an error
        process.send_signal(signal.SIGHUP)

        assert process.wait(harness.STOP_SECONDS) == 0
    assert one.processes() == []


def test_a_reader_that_left_is_no_reason_to_leave_pods_running(tmp_path: Path) -> None:
    one = harness.Running(tmp_path / "home")
    reader, writer = os.pipe()
    with start(one, out=writer) as process:
        os.close(writer)
        read_until_ready(reader)
        os.close(reader)
        process.send_signal(signal.SIGTERM)

        assert process.wait(harness.STOP_SECONDS) == 0
    assert one.processes() == []


def test_nohup_outlives_its_terminal(tmp_path: Path) -> None:
    one = harness.Running(tmp_path / "home")
    container = {"name": "main", "image": "busybox", "command": ["true"]}
    spec = {"restartPolicy": "Never", "containers": [container]}
    reader, writer = os.pipe()
    with start(one, "nohup", out=writer) as process:
        os.close(writer)
        read_until_ready(reader)
        process.send_signal(signal.SIGHUP)

        one.create(PODS, {"metadata": {"name": "after"}, "spec": spec})
        one.until(PODS, lambda pods: pods[0]["status"].get("phase") == "Succeeded")

        process.send_signal(signal.SIGTERM)
        assert process.wait(harness.STOP_SECONDS) == 0
        os.close(reader)
    assert one.processes() == []
