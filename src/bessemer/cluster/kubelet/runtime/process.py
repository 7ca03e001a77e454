"""The process runtime: no isolation, where namespaces are off (macOS, some containers)."""

from __future__ import annotations

import os
import signal
from pathlib import Path, PurePosixPath
from typing import Any

from bessemer.base.clock import Clock
from bessemer.cluster.kubelet.runtime import layout, sandbox
from bessemer.cluster.kubelet.runtime.base import ContainerSpec, Limits, Mount, RuntimeFailure
from bessemer.cluster.kubelet.runtime.cgroups import Cgroups
from bessemer.cluster.kubelet.runtime.launched import LaunchedRuntime, cgroup_name
from bessemer.cluster.kubelet.runtime.zygotes import Zygotes, limits_record


class ProcessRuntime(LaunchedRuntime):
    """Containers are ordinary processes: nothing is hidden from them, nothing is left of them."""

    name = "process"
    #: Its init is no PID 1: it has to end the others itself. See launcher/init.py.
    last_signal = getattr(signal, "SIGRTMIN", signal.SIGUSR1)

    def __init__(self, zygotes: Zygotes, cgroups: Cgroups, clock: Clock | None = None) -> None:
        super().__init__(zygotes, cgroups, clock)

    async def plan(self, spec: ContainerSpec) -> dict[str, Any]:
        """Refuses what needs a root of its own."""
        if spec.rootfs is not None:
            raise RuntimeFailure(
                f"an image's files need namespaces, which are off here, but got {spec.rootfs}; "
                "use a python image or switch user namespaces on"
            )
        if spec.read_only:
            raise RuntimeFailure(
                "readOnlyRootFilesystem needs namespaces, which are off here; remove it or switch "
                "user namespaces on"
            )
        home, temporary = spec.folder / "home", spec.folder / "tmp"
        home.mkdir(exist_ok=True)
        temporary.mkdir(exist_ok=True)
        for mount in spec.mounts:
            _show(mount, home)
        at_home = _at_home(spec.working_dir, home)
        variables = {"TMPDIR": str(temporary)} | sandbox.environment_variables(spec, str(home))
        return {
            "sandbox": False,
            "argv": spec.argv,
            "env": variables,
            "cwd": str(at_home or spec.working_dir or home),
            "makes_cwd": at_home is not None,  # elsewhere lies the user's own machine
            "limits": limits_record(spec.limits),
            "cgroups": {
                "version": self._cgroups.version,
                # All of it, whatever the limits: no PID 1 takes what it started along.
                "paths": self._cgroups.all_paths(cgroup_name(spec.folder)),
            },
            "warm": None,
        }

    def unheld(self, limits: Limits) -> list[str]:
        """As the port says."""
        return sandbox.unheld(limits, self._cgroups)

    async def close(self) -> None:
        """As the port says."""
        await super().close()
        self._cgroups.remove(self._clock.now())


def _at_home(path: str | None, home: Path) -> Path | None:
    """A path in the pod's home, as it is without namespaces; None for every other path."""
    parts = PurePosixPath(path or "/")
    if ".." in parts.parts or not parts.is_relative_to(layout.HOME):
        return None
    return home / parts.relative_to(layout.HOME)


def _show(mount: Mount, home: Path) -> None:
    """Make a mount visible: at its own path it is, in the pod's home a link does."""
    source = mount.source / mount.below
    if os.path.realpath(source) == os.path.realpath(mount.target):
        return
    link = _at_home(mount.target, home)
    if link is None or link == home:
        raise RuntimeFailure(
            f"without namespaces a mount must be at its own path or below {layout.HOME}, but got "
            f"{source} at {mount.target}; switch user namespaces on"
        )
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(source)
