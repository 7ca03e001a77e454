"""The official ``kubernetes`` client in the example's environment, one process for many tests.

::

    with open_session(running, "kubernetes_objects.py") as session:
        told = session.play("conflicts")

A scenario is a function of that file under ``acceptance/clients``; it gets a namespace of its own
and gives what it saw, as JSON. Importing the client once, not for each test, makes a file of
tests take seconds.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import harness

CLIENTS = Path(__file__).parent / "acceptance" / "clients"


class Session:
    """A client process that plays scenarios one after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def play(self, scenario: str, **arguments: Any) -> Any:
        """What the scenario saw; its traceback fails the test."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        wanted = {"scenario": scenario, "arguments": arguments}
        self._process.stdin.write(json.dumps(wanted) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the client process ended"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["told"]


@contextmanager
def open_session(running: harness.Running, script: str) -> Iterator[Session]:
    """The script as a process that waits for scenarios, ended afterwards."""
    command = [str(harness.SDKS), str(CLIENTS / script)]
    process = subprocess.Popen(
        command, env=running.env(), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        try:
            yield Session(process)
        finally:
            process.kill()
