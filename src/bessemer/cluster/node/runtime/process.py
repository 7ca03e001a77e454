"""The process runtime: no isolation, where namespaces are off (macOS, some containers)."""

from __future__ import annotations

from typing import Any

from bessemer.base.clock import Clock
from bessemer.cluster.node.runtime import machine, sandbox
from bessemer.cluster.node.runtime.base import ContainerSpec, Limits, RuntimeFailure
from bessemer.cluster.node.runtime.launched import LaunchedRuntime
from bessemer.cluster.node.runtime.zygotes import Zygotes


class ProcessRuntime(LaunchedRuntime):
    """Containers are ordinary processes: nothing is hidden from them, nothing is left of them."""

    name = "process"

    def __init__(
        self, zygotes: Zygotes, cgroups: machine.Cgroups, clock: Clock | None = None
    ) -> None:
        super().__init__(zygotes, clock)
        self._cgroups = cgroups

    async def plan(self, spec: ContainerSpec) -> dict[str, Any]:
        """Refuses what needs a root of its own."""
        if spec.rootfs is not None:
            raise RuntimeFailure(
                f"an image's files need namespaces, which are off here, but got {spec.rootfs}; "
                "use a python image or switch user namespaces on"
            )
        for mount in spec.mounts:
            if str(mount.source) != mount.target:
                raise RuntimeFailure(
                    "without namespaces a mount must be at its own path, but got "
                    f"{mount.source} at {mount.target}; switch user namespaces on"
                )
        home, temporary = spec.folder / "home", spec.folder / "tmp"
        home.mkdir(exist_ok=True)
        temporary.mkdir(exist_ok=True)
        variables = {"TMPDIR": str(temporary)} | sandbox.environment_variables(spec, str(home))
        return {
            "sandbox": False,
            "argv": spec.argv,
            "env": variables,
            "cwd": spec.working_dir or str(home),
            "limits": sandbox.limits_record(spec.limits),
            "cgroups": sandbox.cgroups_record(self._cgroups, spec),
            "warm": None,
        }

    def unheld(self, limits: Limits) -> list[str]:
        """As the port says."""
        return sandbox.unheld(limits, self._cgroups)

    async def close(self) -> None:
        """As the port says."""
        await super().close()
        self._cgroups.remove()
