"""What this machine offers to containers, found out once by trying it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from bessemer.cluster.node.runtime.base import Limits

_CGROUP_ROOT = Path("/sys/fs/cgroup")
_CONTROLLERS = ("memory", "cpu", "pids")


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
        """The controllers that hold these limits, with the folder of one container."""
        wanted = {"memory": limits.memory, "cpu": limits.cpu, "pids": limits.processes}
        return {
            controller: str(folder / name)
            for controller, folder in self.folders.items()
            if wanted[controller] is not None
        }

    def remove(self) -> None:
        """Delete our own folders, as far as no container is in them."""
        for folder in set(self.folders.values()):
            try:
                folder.rmdir()
            except OSError:
                continue  # a container lives on in it


NO_CGROUPS = Cgroups(0, {})


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
