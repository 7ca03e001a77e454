"""Run by test_runtime_sandbox as an ordinary user: prints what it found, a line a fact."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from bessemer.cluster.kubelet.runtime.base import ContainerSpec, Limits
from bessemer.cluster.kubelet.runtime.choose import choose

EAT = "x = bytearray(300 << 20); import time; time.sleep(60)"


async def main(home: Path) -> None:
    choice = await choose(home / "run", "bessemer-test-user")
    runtime = choice.runtime
    print(runtime.name)  # noqa: T201 -- the test reads it

    async def run(name: str, *argv: str, limits: Limits = Limits()) -> Path:  # noqa: B008 -- frozen
        folder = home / "pods" / name
        await runtime.start(ContainerSpec(folder=folder, argv=argv, env={}, limits=limits))
        return folder

    first = await run("a", "sh", "-c", "id -u; echo x > /proc/sys/kernel/core_pattern")
    await runtime.wait(first)
    log = (first / "log").read_text()
    second = await run("b", "id", "-u")
    seen = await runtime.wait(second)
    print(seen.state.name, seen.exit_code, (second / "log").read_text().strip())  # noqa: T201
    print("core_pattern", "refused" if "Read-only" in log or "denied" in log else log)  # noqa: T201
    third = await run("c", "sleep", "60")
    supervisor = json.loads((third / "started").read_text())["supervisor"]["pid"]
    os.kill(supervisor, signal.SIGKILL)
    print((await runtime.wait(third)).state.name)  # noqa: T201
    fourth = await run("d", sys.executable, "-c", EAT, limits=Limits(memory=64 << 20))
    seen = await runtime.wait(fourth)
    print("OOM" if seen.oom_killed else seen, seen.exit_code)  # noqa: T201
    await runtime.close()


asyncio.run(main(Path(sys.argv[1])))
