"""No room: the write is refused with the reason, nothing of it is seen, and the store goes on."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bessemer.cluster.store.records import Key
from bessemer.cluster.store.store import Store
from bessemer.cluster.store.watch_cache import Watcher
from bessemer.kinds.kind import Object
from bessemer.kube.errors import ServiceUnavailable

_BIG = "x" * 40_000


def make_key(name: str) -> Key:
    return Key("configmaps", "default", name)


def make_object(name: str, text: str) -> Object:
    return {"metadata": {"name": name, "uid": "u"}, "data": {"text": text}}


async def fill(store: Store) -> int:
    """Write big objects until the store refuses; how many it took."""
    for number in range(1000):
        try:
            await store.put(make_key(f"n{number}"), make_object(f"n{number}", _BIG))
        except ServiceUnavailable:
            return number
    raise AssertionError("the file never got full")


async def test_a_full_file_rolls_back_and_goes_on(tmp_path: Path) -> None:
    store = Store(tmp_path / "objects.db", max_pages=100)
    taken = await fill(store)
    before = store.version
    watcher = Watcher("", None)
    store.watch("configmaps", watcher, before)

    # The third is decided on the second, which fails: so it fails with it.
    key = make_key("n0")
    doomed = [
        store.put(make_key("big"), make_object("big", _BIG)),
        store.put(key, make_object("n0", "small")),
        store.put(key, make_object("n0", _BIG * 3)),
    ]
    refused = await asyncio.gather(*doomed, return_exceptions=True)
    for error in refused:
        assert isinstance(error, ServiceUnavailable)
        assert "database or disk is full" in str(error)
    assert store.version == before
    assert store.latest(make_key("big")) is None
    unchanged = store.get(key)
    assert unchanged is store.latest(key)
    assert unchanged is not None
    assert unchanged.object["data"]["text"] == _BIG
    assert await watcher.take(seconds=0) == []

    for number in range(1, taken):
        record = store.get(make_key(f"n{number}"))
        assert record is not None
        await store.remove(record)
    again = await store.put(make_key("big"), make_object("big", _BIG))
    assert again.version > before
    await store.close()

    reopened = Store(tmp_path / "objects.db")
    assert [record.key.name for record in reopened.list("configmaps")] == ["big", "n0"]
    await reopened.close()


async def test_what_takes_no_room_gets_through_beside_what_does(tmp_path: Path) -> None:
    store = Store(tmp_path / "objects.db", max_pages=100)
    taken = await fill(store)
    watcher = Watcher("", None)
    store.watch("configmaps", watcher, store.version)
    records = [store.get(make_key(f"n{number}")) for number in range(taken)]
    assert records[0] is not None
    assert records[1] is not None
    assert records[2] is not None

    told = await asyncio.gather(
        store.put(make_key("big"), make_object("big", _BIG)),
        store.put(make_key("n0"), make_object("n0", "small")),
        store.remove(records[1]),
        # A name that is taken anew is a new object.
        store.remove(records[2]),
        store.put(make_key("n2"), {"metadata": {"name": "n2", "uid": "other"}}),
        return_exceptions=True,
    )

    is_refused = [isinstance(each, ServiceUnavailable) for each in told]
    assert is_refused == [True, False, False, True, True]
    assert store.latest(make_key("big")) is None
    assert store.get(make_key("n2")) is records[2] is store.latest(make_key("n2"))
    assert store.get(make_key("n1")) is None
    events = await watcher.take(seconds=0)
    assert [(event.type.value, event.object["metadata"]["name"]) for event in events] == [
        ("MODIFIED", "n0"), ("DELETED", "n1"),
    ]  # fmt: skip
    await store.close()
    reopened = Store(tmp_path / "objects.db")
    assert {record.key.name for record in reopened.list("configmaps")} == {
        f"n{number}" for number in range(taken) if number != 1
    }
    await reopened.close()


_ON_TMPFS = """
import asyncio, sys
from pathlib import Path
from bessemer.base.errors import BessemerError
from bessemer.cluster.store.records import Key
from bessemer.cluster.store.store import Store
from bessemer.kube.errors import ServiceUnavailable

async def main():
    folder = Path(sys.argv[1])
    ballast = folder / "ballast"
    ballast.write_bytes(b"x" * 300_000)
    store = Store(folder / "objects.db")
    taken = []
    def put(number, size):
        name = f"n{number}"
        body = {"metadata": {"name": name, "uid": "u"}, "data": "x" * size}
        return store.put(Key("configmaps", "", name), body)
    try:
        for number in range(1000):
            await put(number, 20_000)
            taken.append(number)
    except ServiceUnavailable as error:
        print("refused:", "full" in str(error) or "I/O" in str(error))
    before = store.version
    assert len(store.list("configmaps")) == len(taken)
    ballast.unlink()
    record = await put(5000, 1000)
    assert record.version > before
    await store.close()
    again = Store(folder / "objects.db")
    assert len(again.list("configmaps")) == len(taken) + 1, "reopened"
    await again.close()
    (folder / "rest").write_bytes(b"")
    try:
        with (folder / "rest").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 512)
    except OSError:
        pass
    try:
        Store(folder / "new.db")
    except BessemerError as error:
        print("opened:", str(error).count("\\n") == 0)
asyncio.run(main())
"""


_WITH_RESERVE = """
import asyncio, sys
from pathlib import Path
from bessemer.cluster.store.records import Key
from bessemer.cluster.store.reserve import Reserve
from bessemer.cluster.store.store import Store
from bessemer.kube.errors import ServiceUnavailable

def fill(file):
    try:
        with file.open("ab", buffering=0) as rest:
            while True:
                rest.write(b"x" * 4096)
    except OSError:
        pass

async def main():
    folder = Path(sys.argv[1])
    store = Store(folder / "objects.db", reserve=Reserve(folder / "reserve"))
    reserved = (folder / "reserve").stat().st_size
    body = lambda name, size: {"metadata": {"name": name, "uid": "u"}, "data": "x" * size}
    for number in range(200):
        await store.put(Key("pods", "n", f"n{number}"), body(f"n{number}", 3000))
    fill(folder / "flood")
    # As long as it is refused, the log has no room left, either.
    for number in range(3000):
        try:
            await store.put(Key("pods", "n", f"m{number}"), body(f"m{number}", 3000))
        except ServiceUnavailable:
            break
    for number in range(200):
        key = Key("pods", "n", f"n{number}")
        await store.put(key, body(f"n{number}", 3100))
        fill(folder / "flood")
        await store.remove(store.get(key))
    print("through:", reserved, (folder / "reserve").stat().st_size)
    try:
        await store.put(Key("pods", "n", "new"), body("new", 3000))
    except ServiceUnavailable:
        print("refused")
    (folder / "flood").unlink()
    await store.put(Key("pods", "n", "new"), body("new", 3000))
    await store.close()
    again = Store(folder / "objects.db", reserve=Reserve(folder / "reserve"))
    print("kept:", len(again.list("pods")) == number + 1 - 200 + 1 or len(again.list("pods")))
    print("again:", (folder / "reserve").stat().st_size == reserved)
    await again.close()
asyncio.run(main())
"""


_READ_ONLY = """
import sys
from pathlib import Path
from bessemer.base.errors import BessemerError
from bessemer.cluster.store.store import Store
try:
    Store(Path(sys.argv[1]) / "objects.db")
except BessemerError as error:
    print(error)
"""


def run_on_tmpfs(folder: Path, options: str, program: str) -> subprocess.CompletedProcess[str]:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("mounting a small tmpfs needs root and unshare")
    mount = 'mount -t tmpfs -o "$4" none "$1" && exec "$2" -c "$3" "$1"'
    arguments = [str(folder), sys.executable, program, options]
    command = ["unshare", "-m", "sh", "-ec", mount, "sh", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "permission denied" in done.stderr.lower() or "not permitted" in done.stderr.lower():
        pytest.skip(f"mounting a small tmpfs is not allowed here: {done.stderr.strip()}")
    return done


def test_a_read_only_home_is_refused_in_one_line(tmp_path: Path) -> None:
    done = run_on_tmpfs(tmp_path, "size=1m,ro", _READ_ONLY)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    assert "can't be written" in done.stdout
    assert str(tmp_path) in done.stdout


def test_a_full_tmpfs_rolls_back_and_goes_on(tmp_path: Path) -> None:
    done = run_on_tmpfs(tmp_path, "size=1m", _ON_TMPFS)
    assert done.stdout.split("\n")[:2] == ["refused: True", "opened: True"], done.stderr
    assert done.returncode == 0, done.stderr


def test_deletions_get_through_on_a_disk_that_somebody_keeps_full(tmp_path: Path) -> None:
    done = run_on_tmpfs(tmp_path, "size=40m", _WITH_RESERVE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:1] == [f"through: {8 * 2**20} 0"]
    assert "again: True" in done.stdout
