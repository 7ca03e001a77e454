"""The fork that waits for the next start: gone with its zygote, replaced when it was killed."""

from __future__ import annotations

import psutil

from contract.runtime.bench import Bench, until


def zygote(bench: Bench) -> psutil.Process:
    """The base zygote."""
    process = bench.runtime._zygotes._process  # type: ignore[attr-defined]  # to find its forks
    return psutil.Process(process.pid)


async def spare_of(bench: Bench) -> psutil.Process:
    """The fork that waits, once the supervisor of what ran is gone."""
    await until(lambda: len(zygote(bench).children()) == 1)
    return zygote(bench).children()[0]


async def test_a_killed_spare_is_replaced(bench: Bench) -> None:
    await bench.run("true")
    spare = await spare_of(bench)
    spare.kill()
    await until(lambda: not spare.is_running())

    seen, log = await bench.run("echo", "again")

    assert (seen.exit_code, log) == (0, "again\n")
    await until(lambda: len(zygote(bench).children()) == 1)


async def test_a_spare_ends_with_its_zygote(bench: Bench) -> None:
    await bench.run("true")
    spare = await spare_of(bench)
    zygote(bench).kill()

    await until(lambda: not spare.is_running())
    seen, log = await bench.run("echo", "again")
    assert (seen.exit_code, log) == (0, "again\n")
