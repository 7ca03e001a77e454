"""The sandbox runtime: Linux namespaces of our own, as root and as an ordinary user."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from bessemer.base.clock import Clock
from bessemer.cluster.kubelet.runtime import layout
from bessemer.cluster.kubelet.runtime.base import ContainerSpec, Limits
from bessemer.cluster.kubelet.runtime.cgroups import Cgroups, unfiltered, writable_proc_entries
from bessemer.cluster.kubelet.runtime.launched import OWN_FOLDERS, LaunchedRuntime, cgroup_name
from bessemer.cluster.kubelet.runtime.zygotes import WarmKey, WarmSetting, Zygotes, limits_record

#: Variables that a running interpreter can't take on: with another PYTHON* one a start is cold.
_LATE_VARIABLES = {"PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}


class SandboxRuntime(LaunchedRuntime):
    """A container has a root of named mounts, processes, IPC, host name; no privileges."""

    name = "sandbox"

    def __init__(self, zygotes: Zygotes, cgroups: Cgroups, clock: Clock | None = None) -> None:
        super().__init__(zygotes, cgroups, clock)
        self.unfiltered = unfiltered()
        self.unguarded = ""  # why this machine lets no one answer for containers' sockets
        self._guarded = writable_proc_entries()
        self._warm_setting = WarmSetting(
            tuple(self._guarded), cgroups, is_filtered=not self.unfiltered
        )
        # Processes of an inner namespace are found by their parents, as usual kernels tell them.
        self._has_zygotes = Path(f"/proc/self/task/{os.getpid()}/children").exists()
        self._environments: dict[Path, tuple[tuple[str, str, bool], ...]] = {}

    async def plan(self, spec: ContainerSpec) -> dict[str, Any]:
        """Everything by name: what the launcher shows is what is listed here."""
        own = {name: spec.folder / name for name in OWN_FOLDERS}
        for path in own.values():
            path.mkdir(exist_ok=True)
        termination = spec.folder / "termination"
        termination.touch()
        shown = self._zygotes.machine()
        binds = [
            *(shown.binds if spec.rootfs is None else ()),
            (str(own["tmp"]), "/tmp", spec.read_only),
            (str(own["home"]), layout.HOME, spec.read_only),
            *self._environment(spec.environment),
            *((str(one.source), one.target, one.read_only, one.below) for one in spec.mounts),
            (str(termination), spec.termination_path, False),
        ]
        files = layout.names(spec.hosts, spec.hostname)
        if spec.rootfs is None:
            files |= layout.users()
        return {
            "sandbox": True,
            "argv": spec.argv,
            "env": environment_variables(spec, layout.HOME),
            "cwd": spec.working_dir or layout.HOME,
            "makes_cwd": True,  # all that it could write to is the container's own
            "hostname": spec.hostname,
            "root": str(self._zygotes.root()),
            "read_only": spec.read_only,
            "image": None if spec.rootfs is None else str(spec.rootfs),
            "folders": shown.folders,
            "links": shown.links if spec.rootfs is None else (),
            "binds": binds,
            "files": files,
            "own_processes": True,
            "filtered": not self.unfiltered,
            "proc_guarded": self._guarded,
            "limits": limits_record(spec.limits),
            "cgroups": self._cgroup(spec),
            "sockets": self._sockets(spec),
            "warm": await self._warm(spec),
        }

    def _cgroup(self, spec: ContainerSpec) -> dict[str, Any]:
        """The container's own cgroup folders, and where a zygote's program goes beside them."""
        groups = self._cgroups
        paths = groups.paths(cgroup_name(spec.folder), spec.limits)
        return {"version": groups.version, "paths": paths, "programs": groups.programs(paths)}

    def unheld(self, limits: Limits) -> list[str]:
        """As the port says."""
        return unheld(limits, self._cgroups)

    async def close(self) -> None:
        """As the port says."""
        await super().close()
        self._cgroups.remove(self._clock.now())

    def _sockets(self, spec: ContainerSpec) -> dict[str, Any] | None:
        if spec.network is None or self.unguarded:
            return None
        return dataclasses.asdict(spec.network)

    def _environment(self, path: Path | None) -> tuple[tuple[str, str, bool], ...]:
        if path is None:
            return ()
        if path not in self._environments:
            self._environments[path] = layout.environment(path)
        return self._environments[path]

    async def _warm(self, spec: ContainerSpec) -> dict[str, Any] | None:
        if spec.warm is None or spec.environment is None or spec.rootfs is not None:
            return None
        if not self._has_zygotes or not _can_be_late(spec):
            return None
        socket = await self._zygotes.warm_socket(
            WarmKey(spec.namespace, spec.environment),
            dataclasses.replace(self._warm_setting, is_guarded=not self.unguarded),
        )
        return {
            "guarded": not self.unguarded,
            "socket": str(socket),
            "source": spec.warm.source,
            "arguments": spec.warm.arguments,
        }


def _can_be_late(spec: ContainerSpec) -> bool:
    for name, value in spec.env.items():
        if name.startswith("PYTHON") and name not in _LATE_VARIABLES:
            return False
        if name in ("LC_ALL", "LANG", "LC_CTYPE") and not _is_utf8(value):
            return False
    return True


def _is_utf8(locale: str) -> bool:
    """Python takes the C locale as UTF-8 too."""
    return locale in ("", "C", "POSIX") or locale.upper().replace("-", "").endswith("UTF8")


def environment_variables(spec: ContainerSpec, home: str) -> dict[str, str]:
    """The container's variables: the spec's own, and a PATH and HOME beneath them."""
    variables = {"PATH": layout.SEARCH_PATH, "HOME": home, "HOSTNAME": spec.hostname, **spec.env}
    if spec.environment is not None:
        variables["PATH"] = f"{spec.environment / 'bin'}:{variables['PATH']}"
    return variables


def unheld(limits: Limits, cgroups: Cgroups) -> list[str]:
    """The limits that nothing here holds."""
    why = "no cgroup can be written here"
    reasons = []
    if limits.cpu is not None and "cpu" not in cgroups.folders:
        reasons.append(f"cpu: {why}, so more than {limits.cpu:g} cores may be used")
    if limits.processes is not None and "pids" not in cgroups.folders:
        reasons.append(f"processes: {why}, so more than {limits.processes} may be started")
    return reasons
