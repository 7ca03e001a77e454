"""Memory that goes back: when it is worth it, and that it truly goes."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import pytest

from bessemer.app import memory
from bessemer.app.memory import GivingBack

MIB = 1024 * 1024


class Machine:
    """A process that grows and gives back, and a clock whose collections take a while."""

    def __init__(self) -> None:
        self.resident = 80 * MIB
        self.after = 80 * MIB
        self.trims = 0
        self.seconds = 0.0

    def read(self) -> int:
        return self.resident

    def trim(self) -> None:
        self.trims += 1
        self.resident = self.after

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("a look does not wait")


@pytest.fixture
def machine() -> Machine:
    return Machine()


async def test_it_gives_back_what_has_grown_and_lets_a_quiet_process_be(machine: Machine) -> None:
    giving = GivingBack(machine, machine.read, machine.trim)
    await giving.look()
    assert machine.trims == 1  # what the start left
    for _ in range(5):
        await giving.look()
    assert machine.trims == 1
    machine.resident, machine.after = 400 * MIB, 90 * MIB
    await giving.look()
    assert (machine.trims, machine.resident) == (2, 90 * MIB)
    machine.resident = 94 * MIB
    await giving.look()
    assert machine.trims == 2


async def test_what_went_by_itself_counts_as_growth_when_it_comes_again(machine: Machine) -> None:
    machine.resident = machine.after = 400 * MIB
    giving = GivingBack(machine, machine.read, machine.trim)
    await giving.look()
    machine.resident = 100 * MIB
    await giving.look()
    machine.resident, machine.after = 150 * MIB, 100 * MIB
    await giving.look()
    assert machine.trims == 2


@pytest.mark.skipif(memory.giving_back(Machine()) is None, reason="no glibc here")
def test_large_buffers_go_back_when_they_are_freed() -> None:
    program = """
from bessemer.app import memory
memory.set_up()
for size in range(1, 13):  # without it glibc learns from each to keep the next
    kept = bytearray(b"x" * (size << 20)); small = bytearray(10_000); del kept
before = memory.resident()
held = [bytearray(b"x" * (4 << 20)) for _ in range(20)]
small = bytearray(10_000)
assert memory.resident() - before > 70 << 20
del held
assert memory.resident() - before < 8 << 20, memory.resident() - before
"""
    subprocess.run([sys.executable, "-c", program], check=True)
