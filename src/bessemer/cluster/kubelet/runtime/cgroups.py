"""What this machine offers to containers, found out once by trying it."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bessemer.cluster.kubelet.runtime.base import Limits

_CGROUP_ROOT = Path("/sys/fs/cgroup")
_PROGRAMS = "programs"
_CONTROLLERS = ("memory", "cpu", "pids")
#: An empty folder of this age is nobody's: no container takes so long to start. In seconds.
_ABANDONED = 60.0


@dataclass(frozen=True)
class Cgroups:
    """Where cgroups of ours can be made.

    Attributes:
        version: 1 or 2; 0 when none can be made.
        folders: controller -> our own folder, in which each container gets one.
    """

    version: int
    folders: dict[str, Path]

    def paths(self, name: str, limits: Limits) -> dict[str, str]:
        """The controllers that hold these limits, with the folder of one container.

        None for one without limits: making and leaving cgroups costs a tenth of a start, and in a
        sandbox the kernel ends all of a container with its PID 1 anyway.
        """
        wanted = {"memory": limits.memory, "cpu": limits.cpu, "pids": limits.processes}
        return {
            controller: str(folder / name)
            for controller, folder in self.folders.items()
            if wanted[controller] is not None
        }

    def all_paths(self, name: str) -> dict[str, str]:
        """Each controller with the folder of one container, which can then be ended by it."""
        return {controller: str(folder / name) for controller, folder in self.folders.items()}

    def programs(self, held: dict[str, str]) -> dict[str, str]:
        """Where a program goes that a warm zygote made, out of that one's limits.

        Args:
            held: the controllers that hold it by a folder of its own.
        """
        if self.version == 2 and held:  # that one folder is for all
            return {}
        return {name: path for name, path in self.all_paths(_PROGRAMS).items() if name not in held}

    def make_programs(self) -> None:
        """Make the folders of ``programs``."""
        for path in self.all_paths(_PROGRAMS).values():
            os.makedirs(path, exist_ok=True)

    def kill(self, name: str) -> None:
        """End all processes of one container, as far as cgroups can be written."""
        for folder in set(self.folders.values()):
            _kill(folder / name)
            _remove(folder / name)

    def remove(self, now: datetime) -> None:
        """Delete our own folders, as far as no container is in them."""
        for folder in set(self.folders.values()):
            with contextlib.suppress(OSError):
                for left in folder.iterdir():  # of those whose supervisor died
                    # A younger one may be that of a container which is just being made.
                    if left.is_dir() and now.timestamp() - left.stat().st_ctime > _ABANDONED:
                        _remove(left)
            _remove(folder)


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):  # a container lives on in it
        folder.rmdir()


NO_CGROUPS = Cgroups(0, {})
#: Looks for processes that were forked while others were killed.
_MOST_LOOKS = 20


def _kill(folder: Path) -> None:
    with contextlib.suppress(OSError):  # Linux 5.14 has it, in version 2
        (folder / "cgroup.kill").write_text("1")
        return
    for _ in range(_MOST_LOOKS):
        try:
            pids = [int(word) for word in (folder / "cgroup.procs").read_text().split()]
        except OSError:
            return  # it is gone
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


#: Of the launcher's filter: the machines that it has a list of system calls for.
_FILTERED_MACHINES = ("x86_64", "aarch64")


def unfiltered() -> str:
    """Why this machine can't hold containers to a filter of system calls; empty if it can."""
    if os.uname().machine not in _FILTERED_MACHINES:
        return f"there is no list of them for {os.uname().machine}"
    if not Path("/proc/sys/kernel/seccomp/actions_avail").exists():
        return "this kernel has no seccomp"
    return ""


def find_cgroups(name: str, root: Path = _CGROUP_ROOT) -> Cgroups:
    """Make our own folder wherever the machine lets us."""
    if (root / "cgroup.controllers").exists():
        return _version_2(name, root)
    folders = {}
    for controller in _CONTROLLERS:
        folder = root / controller / name
        try:
            folder.mkdir(exist_ok=True)
        except OSError:
            continue
        if os.access(folder / "cgroup.procs", os.W_OK):
            folders[controller] = folder
    return Cgroups(1, folders) if folders else NO_CGROUPS


def _version_2(name: str, root: Path) -> Cgroups:
    for parent in (root, _own_parent(root)):
        folder = parent / name
        try:
            offered = (parent / "cgroup.controllers").read_text().split()
            wanted = " ".join(f"+{one}" for one in _CONTROLLERS if one in offered)
            folder.mkdir(exist_ok=True)
            (parent / "cgroup.subtree_control").write_text(wanted)
            (folder / "cgroup.subtree_control").write_text(wanted)
            held = (folder / "cgroup.subtree_control").read_text().split()
        except OSError:
            continue
        if os.access(parent / "cgroup.procs", os.W_OK):
            return Cgroups(2, {one: folder for one in _CONTROLLERS if one in held})
    return NO_CGROUPS


def _own_parent(root: Path) -> Path:
    """The folder above our own cgroup: what systemd delegates to a user's session."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, _, path = line.split(":", 2)
        if number == "0":
            return (root / path.lstrip("/")).parent
    return root


def writable_proc_entries() -> list[str]:
    """What in /proc, beside processes, its owner could write: to be guarded in containers."""
    names = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() or entry.is_symlink():
            continue
        if entry.name == "sys" or _is_writable(Path(entry.path)):
            names.append(entry.name)
    return sorted(names)


def _is_writable(path: Path) -> bool:
    """Whether something at or beneath the path may be written by somebody."""
    files = [path] if path.is_file() else (one for one in path.rglob("*") if not one.is_dir())
    return any(one.lstat().st_mode & 0o222 and not one.is_symlink() for one in files)
