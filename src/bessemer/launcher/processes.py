"""A process's descendants: found, measured, ended. Only processes beneath a given one."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from typing import Dict, List

_PAUSE = 0.002  # seconds between looks at processes that are ending


def children(pid: int) -> List[int]:
    """The children of a process, of all of its threads."""
    if sys.platform != "linux":
        return [child for child, parent in _table().items() if parent == pid]
    found: List[int] = []
    try:
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/children" % (pid, task), encoding="ascii") as file:
                found.extend(int(word) for word in file.read().split())
    except OSError:
        pass  # it ended meanwhile
    return found


def descendants(pid: int) -> List[int]:
    """All beneath a process, parents before children."""
    found = children(pid)
    for child in found:
        found.extend(children(child))
    return found


def end_descendants(pid: int) -> None:
    """Kill all beneath this process, which adopts orphans, until none is left."""
    while True:
        living = [child for child in descendants(pid) if not _is_zombie(child)]
        for child in living:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        if not living:
            return
        time.sleep(_PAUSE)


def memory(pid: int) -> int:
    """Bytes that the process keeps in memory, its part of shared pages only where we can tell."""
    try:
        with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as file:
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    if sys.platform == "linux":
        return 0
    text = _ps("-o", "rss=", "-p", str(pid)).strip()
    return int(text) * 1024 if text else 0


def _is_zombie(pid: int) -> bool:
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"Z"
    except OSError:
        return sys.platform == "linux"


def _table() -> Dict[int, int]:
    rows = (line.split() for line in _ps("-A", "-o", "pid=,ppid=").splitlines())
    return {int(pid): int(parent) for pid, parent in rows}


def _ps(*arguments: str) -> str:
    """What ps prints; without subprocess, whose import every supervisor would carry."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writer, 1)
        os.execv("/bin/ps", ["ps", *arguments])
    os.close(writer)
    with open(reader, encoding="ascii", errors="replace") as file:
        text = file.read()
    os.waitpid(child, 0)
    return text
