"""A Bessemer on a temporary home for the time of a benchmark."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

BESSEMER = Path(sys.executable).with_name("bessemer")
LIMIT = 60  # seconds to become ready


@dataclass
class Up:
    """What a benchmark may ask of it."""

    home: Path
    process: subprocess.Popen[bytes]
    ready_after: float  # seconds from start to the first "ready"
    env: dict[str, str]

    def memory(self) -> int:
        """PSS in bytes of the control plane, its children and all that it started."""
        mark = str(self.home)
        total = 0
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                own = process.pid == self.process.pid
                parents = {parent.pid for parent in process.parents()}
                named = any(mark in word for word in process.cmdline())
                if own or self.process.pid in parents or named or self.started_by(process):
                    total += process.memory_full_info().pss
        return total

    def started_by(self, process: psutil.Process) -> bool:
        """Whether an ancestor is one of this home's zygotes or supervisors."""
        mark = str(self.home)
        return any(mark in word for parent in process.parents() for word in parent.cmdline())


@contextlib.contextmanager
def bessemer(home: Path | None = None) -> Iterator[Up]:
    """Started, ready; stopped at the end. A home of its own unless given."""
    # Where users have theirs; below /tmp each container would hide a part of its own /tmp.
    place = home or Path(tempfile.mkdtemp(prefix="bessemer-bench-", dir=Path.home()))
    with tempfile.NamedTemporaryFile(prefix="bessemer-bench-", suffix=".log") as log:
        began = time.perf_counter()
        process = subprocess.Popen([BESSEMER, "up", "--home", place], stdout=log, stderr=log)
        try:
            ready_after = wait_ready(process, Path(log.name), began)
            yield Up(place, process, ready_after, environment(place))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            if home is None:
                shutil.rmtree(place, ignore_errors=True)


def wait_ready(process: subprocess.Popen[bytes], log: Path, began: float) -> float:
    """Seconds until the ready line stands in the log."""
    while time.perf_counter() - began < LIMIT:
        if b"Bessemer is ready" in log.read_bytes():
            return time.perf_counter() - began
        if process.poll() is not None:
            break
        time.sleep(0.005)
    raise SystemExit(f"Bessemer did not become ready:\n{log.read_text()}")


def environment(home: Path) -> dict[str, str]:
    """What ``bessemer env`` exports, over this process' environment."""
    printed = subprocess.run(
        [BESSEMER, "env", "--home", home], capture_output=True, text=True, check=True
    ).stdout
    pairs = (word.split("=", 1) for word in printed.split() if "=" in word)
    return {**os.environ, **{key: value.strip("'\"") for key, value in pairs}}
