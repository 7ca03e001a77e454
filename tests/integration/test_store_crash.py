"""kill -9 in the middle of writes: nothing acknowledged is lost, nothing half-written is there."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from bessemer.cluster.store.records import Key
from bessemer.cluster.store.store import Store

# Eight writers create, change and delete; each line tells a write after it was acknowledged.
_PROGRAM = """
import asyncio, os, random, sys
from pathlib import Path
from bessemer.cluster.store.records import Key
from bessemer.cluster.store.store import Store

async def write(store, number, seed):
    choose = random.Random(seed * 100 + number)
    for turn in range(100_000):
        key = Key("configmaps", "default", f"w{number}-{choose.randrange(20)}")
        known = store.get(key)
        if known and choose.random() < 0.3:
            record, what = await store.remove(known), "gone"
        else:
            data = {"x": "y" * choose.randrange(3000)}
            body = {"metadata": {"name": key.name, "uid": "u"}, "data": data}
            record, what = await store.put(key, body), "put"
        os.write(1, f"{what} {key.name} {record.version}\\n".encode())

async def main():
    store = Store(Path(sys.argv[1]))
    await asyncio.gather(*(write(store, number, int(sys.argv[2])) for number in range(8)))

asyncio.run(main())
"""


def run_until_killed(path: Path, seed: int, lines: int) -> list[tuple[str, str, int]]:
    """Everything that the program acknowledged before it was killed."""
    command = [sys.executable, "-c", _PROGRAM, str(path), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        told = [program.stdout.readline() for _ in range(lines)]
        program.send_signal(signal.SIGKILL)
        told += program.stdout.readlines()
    acknowledged = []
    for line in told:
        what, name, version = line.decode().split()
        acknowledged.append((what, name, int(version)))
    return acknowledged


async def check(path: Path, acknowledged: list[tuple[str, str, int]]) -> None:
    last = {name: (what, version) for what, name, version in acknowledged}
    newest = {name.partition("-")[0]: version for _, name, version in acknowledged}
    store = Store(path)
    assert store.version >= max(newest.values())
    other: list[str] = []
    for name, (what, version) in last.items():
        record = store.get(Key("configmaps", "default", name))
        if record is not None:
            assert orjson.loads(record.data)["metadata"]["resourceVersion"] == str(record.version)
        expected = version if what == "put" else None
        if (record.version if record else None) != expected:
            other.append(name.partition("-")[0])
            # Then it is the work of a write that came after all that this writer was told of.
            assert (record.version if record else store.version) > newest[other[-1]]
    # Each writer has at most one write on its way when the kill comes.
    assert len(other) == len(set(other))
    await store.close()


@pytest.mark.parametrize("seed", range(5))
async def test_a_kill_loses_nothing_acknowledged(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "objects.db"
    for turn in range(2):
        lines = random.Random(seed * 10 + turn).randrange(1, 600)
        await check(path, run_until_killed(path, seed, lines))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 140))
async def test_many_kills_lose_nothing_acknowledged(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "objects.db"
    for turn in range(3):
        lines = random.Random(seed * 10 + turn).randrange(1, 4000)
        await check(path, run_until_killed(path, seed, lines))
