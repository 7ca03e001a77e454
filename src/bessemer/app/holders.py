"""Who a process is, in words that help: the pod it belongs to, or its program."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import psutil

from bessemer.cluster.kubelet.pods import addresses

# An attempt's folder, which its supervisor holds open.
_ATTEMPT = re.compile(r"^(/.*/pods/[0-9a-f-]{36})/containers/")


def describe(pid: int) -> str:
    """The process as "pod a/x (pid 7)", or by its program's name as far as it may be seen."""
    name = next((name for folder in _pods(pid) if (name := addresses.read_name(folder))), "")
    if name:
        return f"pod {name} (pid {pid})"
    try:
        return f"{psutil.Process(pid).name()} (pid {pid})"
    except psutil.Error:
        return f"a process (pid {pid})"


def find_listener(port: int) -> str:
    """Who listens for TCP at the port, described; empty: nobody who may be seen."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status != psutil.CONN_LISTEN or connection.laddr[1:] != (port,):
                continue
            if connection.pid:
                return describe(connection.pid)
    return ""


def _pods(pid: int) -> Iterator[Path]:
    """The folders of the pod that a process belongs to, by what its supervisor has open."""
    try:
        line = [psutil.Process(pid), *psutil.Process(pid).parents()]
    except psutil.Error:
        return
    for process in line:
        folder = Path(f"/proc/{process.pid}/fd")
        with contextlib.suppress(OSError):
            for entry in folder.iterdir():
                with contextlib.suppress(FileNotFoundError):
                    if found := _ATTEMPT.match(f"{os.readlink(entry)}/"):
                        yield Path(found[1])
