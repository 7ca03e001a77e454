"""Which runtime this machine can have, found out by trying."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bessemer.cluster.kubelet.runtime.base import ContainerSpec, Runtime, RuntimeFailure
from bessemer.cluster.kubelet.runtime.cgroups import NO_CGROUPS, Cgroups, find_cgroups
from bessemer.cluster.kubelet.runtime.process import ProcessRuntime
from bessemer.cluster.kubelet.runtime.sandbox import SandboxRuntime
from bessemer.cluster.kubelet.runtime.zygotes import Zygotes

#: Set to "process", it forbids the sandbox: to see on Linux what other machines have.
FORCED = "BESSEMER_RUNTIME"
#: How long a warm zygote stays without work, in seconds.
WARM_IDLE = 60.0
_TRIAL = "trial-"
#: How long the trial container may take, in seconds.
_PATIENCE = 30.0


@dataclass(frozen=True)
class Choice:
    """The runtime in force, and why it is that one."""

    runtime: Runtime
    reason: str
    cgroups: Cgroups
    unguarded: str = ""  # why pods may bind any address; empty: each has its own alone

    def describe(self) -> str:
        """One line for the ready line and the doctor."""
        held = ", ".join(self.cgroups.folders)
        limits = f"cgroup v{self.cgroups.version}: {held}" if held else "memory by a watcher only"
        return f"{self.runtime.name} ({self.reason}; limits: {limits})"


async def choose(home_run: Path, cgroup_name: str, warm_idle: float = WARM_IDLE) -> Choice:
    """Try a sandboxed container; without namespaces there is the process runtime."""
    zygotes = Zygotes(home_run, warm_idle)
    if not sys.platform.startswith("linux"):
        reason = f"no isolation: namespaces need Linux, this is {sys.platform}"
        return Choice(ProcessRuntime(zygotes, NO_CGROUPS), reason, NO_CGROUPS)
    cgroups = find_cgroups(cgroup_name)
    if os.environ.get(FORCED) == ProcessRuntime.name:
        reason = f"no isolation: {FORCED} asks for that"
        return Choice(ProcessRuntime(zygotes, cgroups), reason, cgroups)
    sandbox = SandboxRuntime(zygotes, cgroups)
    problem = await _try(sandbox, home_run)
    if problem:
        return Choice(ProcessRuntime(zygotes, cgroups), f"no isolation: {problem}", cgroups)
    sandbox.unguarded = (await zygotes.ask({"do": "try sockets"}))["problem"]
    reason = "user namespaces work"
    if sandbox.unfiltered:
        reason += f", but system calls are not filtered: {sandbox.unfiltered}"
    if sandbox.unguarded:
        reason += f", but sockets are not guarded: {sandbox.unguarded}"
    return Choice(sandbox, reason, cgroups, sandbox.unguarded)


async def choose_runtime(home_run: Path, cgroup_name: str) -> Runtime:
    """The runtime of ``choose``, for who needs no reason."""
    return (await choose(home_run, cgroup_name)).runtime


async def _try(runtime: SandboxRuntime, home_run: Path) -> str:
    """Run a command in the sandbox; what went wrong, or nothing."""
    os.makedirs(home_run, mode=0o700, exist_ok=True)
    _clean(home_run)
    # The supervisor may still be tidying up when its container has ended: what it then leaves
    # behind is no reason to fail, and goes with the next start.
    with tempfile.TemporaryDirectory(
        dir=home_run, prefix=_TRIAL, ignore_cleanup_errors=True
    ) as folder:
        trial = Path(folder, "container")
        try:
            async with asyncio.timeout(_PATIENCE):
                await runtime.start(ContainerSpec(folder=trial, argv=("true",), env={}))
                seen = await runtime.wait(trial)
        except (RuntimeFailure, TimeoutError) as error:
            return str(error) or "the trial container did not end"
    return seen.start_error or ("" if seen.exit_code == 0 else f"code {seen.exit_code}")


def _clean(home_run: Path) -> None:
    for left in home_run.glob(f"{_TRIAL}*"):
        shutil.rmtree(left, ignore_errors=True)
