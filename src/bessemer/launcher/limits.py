"""Holding a container to its limits: a cgroup where one can be written, else a watcher."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, List, Optional, Tuple

from bessemer.launcher import processes

_PERIOD = 100_000  # microseconds of the cpu quota's period, the kernel's default
#: Seconds between two looks of the watcher.
WATCH_EVERY = 0.1
#: How long a cgroup may stay busy after its last process was reaped, in seconds.
_REMOVAL = 2.0


class Cgroup:
    """The cgroup folders of one container: controller -> path, one and the same path in v2."""

    def __init__(self, paths: Dict[str, str], version: int) -> None:
        self._paths = paths
        self._version = version

    def create(self, limits: Dict[str, Any]) -> None:
        """Make the folders and write the limits."""
        for path in set(self._paths.values()):
            os.makedirs(path, exist_ok=True)
        for controller, name, value in _settings(limits, self._version):
            if controller in self._paths:
                _write(os.path.join(self._paths[controller], name), value)

    def add(self, pid: int) -> None:
        """Put a process in; its later children are in from the start."""
        for path in set(self._paths.values()):
            _write(os.path.join(path, "cgroup.procs"), str(pid))

    def out_of_memory(self) -> bool:
        """Whether the kernel killed for lack of memory in here."""
        name = "memory.events" if self._version == 2 else "memory.oom_control"
        try:
            with open(os.path.join(self._paths["memory"], name), encoding="ascii") as file:
                return any(
                    line.startswith("oom_kill ") and int(line.split()[1]) > 0 for line in file
                )
        except (KeyError, OSError):
            return False

    def remove(self) -> None:
        """Delete the folders; all processes have ended."""
        for path in set(self._paths.values()):
            deadline = time.monotonic() + _REMOVAL
            while True:
                try:
                    os.rmdir(path)
                except FileNotFoundError:
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        break
                    time.sleep(0.001)
                else:
                    break


def open_entries(paths: Dict[str, str]) -> List[int]:
    """Descriptors of a cgroup: whoever writes "0" to each is in, and its later children too."""
    places = (os.path.join(path, "cgroup.procs") for path in set(paths.values()))
    return [os.open(place, os.O_WRONLY | os.O_CLOEXEC) for place in places]


def join(paths: Dict[str, str]) -> None:
    """Put this very process into the cgroup."""
    for entry in open_entries(paths):
        os.write(entry, b"0")
        os.close(entry)


def _settings(limits: Dict[str, Any], version: int) -> List[Tuple[str, str, str]]:
    found: List[Tuple[str, str, str]] = []
    if limits["memory"] is not None:
        name = "memory.max" if version == 2 else "memory.limit_in_bytes"
        found.append(("memory", name, str(limits["memory"])))
    if limits["cpu"] is not None:
        quota = max(1000, int(limits["cpu"] * _PERIOD))
        if version == 2:
            found.append(("cpu", "cpu.max", "%d %d" % (quota, _PERIOD)))
        else:
            found.append(("cpu", "cpu.cfs_period_us", str(_PERIOD)))
            found.append(("cpu", "cpu.cfs_quota_us", str(quota)))
    if limits["processes"] is not None:
        found.append(("pids", "pids.max", str(limits["processes"])))
    return found


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


class Watcher:
    """Looks at what a container's processes use together, where no cgroup holds them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._next = 0.0
        self.fired = False

    def exceeded(self, roots: List[int]) -> bool:
        """Whether the processes at and beneath these use more than they may."""
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + WATCH_EVERY
        pids = {pid for one in roots for pid in (one, *processes.descendants(one))}
        self.fired = self.fired or sum(processes.memory(pid) for pid in pids) > self._most
        return self.fired


def watcher(limits: Dict[str, Any], held: List[str]) -> Optional[Watcher]:
    """A watcher, if there is a memory limit that no cgroup holds."""
    if limits["memory"] is None or "memory" in held:
        return None
    return Watcher(int(limits["memory"]))
