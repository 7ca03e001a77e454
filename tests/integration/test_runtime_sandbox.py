"""What a sandboxed container can't see and can't do, tried from inside one."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from bessemer.cluster.kubelet.runtime.base import ContainerState, Mount, Observation
from bessemer.cluster.kubelet.runtime.choose import Choice, choose
from contract.runtime.bench import Bench, read, until
from swapper import swapping

ENVIRONMENT = Path(sys.prefix)
CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")
_SETTINGS = (
    "sys/kernel/core_pattern",
    "sys/kernel/hostname",
    "sysrq-trigger",
    "sys/vm/swappiness",
)
_PRESENT = [name for name in _SETTINGS if Path("/proc", name).exists()]
_LIBRARIES = [
    Mount(Path(name).resolve(), name) for name in ("/lib", "/lib64") if Path(name).exists()
]
TRY_TO_WRITE = """
import os, sys
for path in sys.argv[1:]:
    try:
        os.close(os.open(path, os.O_WRONLY))
        print("open", path)
    except OSError as error:
        print("refused", path)
"""


@pytest.fixture
async def choice(tmp_path: Path) -> AsyncIterator[Choice]:
    made = await choose(tmp_path / "run", f"bessemer-test-{uuid.uuid4().hex[:8]}")
    yield made
    await made.runtime.close()


@pytest.fixture
async def bench(choice: Choice, tmp_path: Path) -> AsyncIterator[Bench]:
    if choice.runtime.name != "sandbox":
        pytest.skip(f"this machine has no sandbox: {choice.describe()}")
    made = Bench(choice.runtime, tmp_path, lambda: choice.runtime)
    yield made
    for folder in (tmp_path / "pods").glob("*"):
        if made.runtime.observe(folder).state is ContainerState.RUNNING:
            await made.runtime.signal(folder, signal.SIGKILL)
            await made.wait(folder)


async def test_only_named_things_are_there(bench: Bench) -> None:
    _, log = await bench.run("ls", "-A", "/", "/home", "/etc/..", "/tmp")

    lines = set(log.splitlines())
    assert {"usr", "tmp", "etc", "proc", "dev"} <= lines
    assert not lines & {"root", "work", "mnt", "srv", "opt", "boot", "media"}


async def test_the_home_and_other_containers_are_out_of_sight(bench: Bench) -> None:
    secret = bench.home / "kubeconfig"
    secret.write_text("token")
    other = await bench.start("sh", "-c", "echo mine > $HOME/f; sleep 60")
    seen, log = await bench.run(
        "sh", "-c", f"cat {secret} {other}/home/f {other}/spec.json; ls {bench.home}"
    )

    assert seen.exit_code != 0
    assert log.count("No such file or directory") == 4


async def test_only_its_own_processes_are_in_sight(bench: Bench) -> None:
    await bench.start("sleep", "61")
    script = "import os; print(sorted(int(n) for n in os.listdir('/proc') if n.isdigit()))"
    _, log = await bench.run("python", "-c", script, environment=ENVIRONMENT)

    assert log == "[1, 2]\n"


async def test_nothing_outside_can_be_signalled(bench: Bench) -> None:
    _, log = await bench.run("sh", "-c", f"kill -0 {os.getpid()} && echo reached")

    assert "reached" not in log


async def test_the_machine_cannot_be_set(bench: Bench) -> None:
    paths = [f"/proc/{name}" for name in _PRESENT]
    before = read(CORE_PATTERN)
    _, log = await bench.run("python", "-c", TRY_TO_WRITE, *paths, environment=ENVIRONMENT)

    assert log.splitlines() == [f"refused {path}" for path in paths]
    assert read(CORE_PATTERN) == before


async def test_every_entry_of_proc_that_its_owner_could_write_is_guarded(bench: Bench) -> None:
    script = (
        "import os\n"
        "for folder, names, files in os.walk('/proc'):\n"
        "    if folder == '/proc':\n"
        "        names[:] = [n for n in names if not n.isdigit() and n not in "
        "('self', 'thread-self')]\n"
        "    for name in files:\n"
        "        path = folder + '/' + name\n"
        "        try:\n"
        "            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))\n"
        "            print(path)\n"
        "        except OSError:\n"
        "            pass\n"
    )
    seen, log = await bench.run("python", "-c", script, environment=ENVIRONMENT)

    assert (seen.exit_code, log) == (0, "")


async def test_no_capability_is_left_nor_to_be_had(bench: Bench) -> None:
    command = ("grep", "-E", "^(Cap|NoNewPrivs)", "/proc/self/status")
    _, log = await bench.run(*command)
    beside = await bench.runtime.execute(await bench.start("sleep", "60"), command, 10)

    for said in (log, beside.output.decode()):
        values = dict(line.split(":\t") for line in said.splitlines())
        assert values.pop("NoNewPrivs") == "1"
        assert set(values) == {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}
        assert set(values.values()) == {"0" * 16}


async def test_a_new_user_namespace_inside_gives_nothing_back(bench: Bench) -> None:
    script = (
        "umount /proc/sys; mount -o remount,rw /proc/sys; mount -t proc proc /tmp;"
        "echo x > /proc/sys/kernel/core_pattern && echo wrote; mount -o remount,rw /usr && echo rw"
    )
    before = read(CORE_PATTERN)
    _, log = await bench.run("unshare", "-Urmpf", "sh", "-c", script)

    assert "wrote" not in log
    assert "rw" not in log.split()
    assert read(CORE_PATTERN) == before


async def test_read_only_means_read_only(bench: Bench) -> None:
    data = bench.home / "volumes" / "data"
    (data / "task").mkdir(parents=True)
    (data / "f").write_text("old")
    mounts = (Mount(data, "/data"), Mount(data / "task", "/data/task", read_only=False))
    paths = ("/data/f", "/usr/x", f"{ENVIRONMENT}/x", "/etc/alternatives/x")
    tries = "; ".join(f"echo new > {path}" for path in paths)
    seen, log = await bench.run(
        "sh", "-c", f"{tries}; echo new > /data/task/f", mounts=mounts, environment=ENVIRONMENT
    )

    assert seen.exit_code == 0
    assert log.count("Read-only file system") == len(paths)
    assert (data / "f").read_text() == "old"
    assert (data / "task" / "f").read_text() == "new\n"


async def test_a_read_only_root_leaves_only_volumes_to_write(bench: Bench) -> None:
    data = bench.home / "volumes" / "data"
    data.mkdir(parents=True)
    paths = ("/x", "/etc/x", "/tmp/x", "$HOME/x", "/opt/x")
    tries = "; ".join(f"echo new > {path}" for path in paths)
    mounts = (Mount(data, "/data", read_only=False), Mount(data, "/opt"))
    seen, log = await bench.run(
        "sh", "-c", f"{tries}; echo new > /data/f; echo x > /dev/shm/f; echo x > /dev/null",
        mounts=mounts, read_only=True,
    )  # fmt: skip

    assert (seen.exit_code, log.count("Read-only file system")) == (0, len(paths))
    assert (data / "f").read_text() == "new\n"


async def test_mounts_go_where_they_are_wanted(bench: Bench) -> None:
    data = bench.home / "volumes" / "data"
    data.mkdir(parents=True)
    (data / "f").write_text("content")
    targets = ("/etc/app", "/var/run/secrets/x", str(data), "/tmp/a/b", "/home/pod/c", "/new")
    mounts = tuple(Mount(data, target) for target in targets)
    mounts += (Mount(data / "f", "/etc/app.conf"),)
    files = [f"{target}/f" for target in targets] + ["/etc/app.conf"]
    seen, log = await bench.run("cat", *files, mounts=mounts)

    assert (seen.exit_code, log) == (0, "content" * 7)


async def test_a_link_in_a_volume_does_not_lead_the_mount_out(bench: Bench) -> None:
    data, outside = bench.home / "data", bench.home / "outside"
    data.mkdir()
    outside.mkdir()
    (data / "link").symlink_to(outside)
    mounts = (Mount(data, "/data", read_only=False), Mount(data, "/data/link/made"))
    await bench.run("true", mounts=mounts)

    assert list(outside.iterdir()) == []


async def test_a_sub_path_that_becomes_a_link_meanwhile_shows_nothing_outside(
    bench: Bench,
) -> None:
    claim, outside = bench.home / "claim", bench.home / "outside"
    (claim / "d").mkdir(parents=True)
    outside.mkdir()
    (claim / "d" / "f").write_text("inside")
    (outside / "f").write_text("outside")
    folder = Mount(claim, "/v", below="d", read_only=False)
    file = Mount(claim, "/f", below="d/f")
    with swapping(claim, outside):
        seen = await _many(bench, "sh", "-c", "cat /v/f /f; touch /v/made", mounts=(folder, file))
        while not any(one.exit_code == 0 for one, _ in seen):
            seen += await _many(bench, "true", mounts=(folder, file))

    assert {log for _, log in seen} <= {"insideinside", ""}
    assert all(log or one.start_error for one, log in seen if one.exit_code)
    assert [one.name for one in outside.iterdir()] == ["f"]


async def test_a_mount_in_a_folder_that_becomes_a_link_makes_nothing_outside(
    bench: Bench,
) -> None:
    claim, outside, other = (bench.home / name for name in ("claim", "outside", "other"))
    (claim / "d").mkdir(parents=True)
    outside.mkdir()
    other.mkdir()
    (other / "f").write_text("content")
    places = ("made", "deep/made", "file")
    mounts = (
        Mount(claim, "/data", read_only=False),
        *(Mount(other, f"/data/d/{place}") for place in places[:2]),
        Mount(other / "f", "/data/d/file"),
    )
    with swapping(claim, outside):
        await _many(bench, "true", mounts=mounts)

    assert list(outside.iterdir()) == []
    assert [one.name for one in other.iterdir()] == ["f"]


async def _many(bench: Bench, *argv: str, **values: Any) -> list[tuple[Observation, str]]:
    """Run it again and again, some at a time."""
    seen = []
    for _ in range(15):
        seen += await asyncio.gather(*(bench.run(*argv, **values) for _ in range(4)))
    return seen


async def test_a_container_holds_no_descriptor_of_a_folder(bench: Bench) -> None:
    claim = bench.home / "claim"
    (claim / "d").mkdir(parents=True)
    mounts = (Mount(claim, "/v", below="d"), Mount(claim, "/w", read_only=False))
    script = (
        "import os, stat\n"
        "for pid in ('1', 'self'):\n"
        "    for name in os.listdir(f'/proc/{pid}/fd'):\n"
        "        path = f'/proc/{pid}/fd/{name}'\n"
        "        print(os.path.exists(path) and stat.S_ISDIR(os.stat(path).st_mode))\n"
    )
    seen, log = await bench.run("python", "-c", script, mounts=mounts, environment=ENVIRONMENT)

    assert (seen.exit_code, set(log.split())) == (0, {"False"})


async def test_a_mount_that_is_not_there_is_a_start_error(bench: Bench) -> None:
    seen, _ = await bench.run("true", mounts=(Mount(Path("/no/such"), "/data"),))

    assert (seen.state, seen.exit_code) == (ContainerState.EXITED, 128)
    assert "/no/such" in seen.start_error


async def test_names_are_those_of_the_spec(bench: Bench) -> None:
    script = "hostname; getent hosts db.svc; getent hosts localhost; id -un"
    _, log = await bench.run("sh", "-c", script, hosts={"db.svc": "127.9.0.7"}, hostname="web-0")

    lines = log.splitlines()
    assert lines[0] == "web-0"
    assert lines[1].split() == ["127.9.0.7", "db.svc"]
    assert "localhost" in lines[2]
    assert lines[3] == ("root" if os.getuid() == 0 else "pod")


async def test_the_usual_devices_work(bench: Bench) -> None:
    script = (
        "head -c 4 /dev/urandom > /dev/null && echo x > /dev/stdout && echo y > /dev/stderr"
        " && sh -c 'echo w > /dev/stdout' | cat && echo z > /dev/shm/f"
        " && test -c /dev/ptmx && ls /dev/fd > /dev/null"
    )
    seen, log = await bench.run("sh", "-c", script)

    assert (seen.exit_code, log) == (0, "x\ny\nw\n")


async def test_a_root_file_system_takes_the_place_of_usr(bench: Bench) -> None:
    image = bench.home / "image"
    for name in ("bin", "etc", "data"):
        (image / name).mkdir(parents=True)
    (image / "data" / "f").write_text("from the image\n")
    (image / "etc" / "hosts").symlink_to("/no/where")
    mounts = (Mount(Path("/usr"), "/usr"), *_LIBRARIES)
    script = "cat /data/f; echo mine > /data/f; cat /data/f; ls /; cat /etc/hosts"
    seen, log = await bench.run("/usr/bin/sh", "-c", script, rootfs=image, mounts=mounts)

    assert seen.exit_code == 0, seen
    assert log.startswith("from the image\nmine\n")
    assert "localhost" in log
    assert "root\n" not in log
    assert (image / "data" / "f").read_text() == "from the image\n"


async def test_a_supervisor_and_its_init_are_small(bench: Bench) -> None:
    folders = [await bench.start("sleep", "60") for _ in range(5)]
    pids = [bench.runtime.observe(folder).pid for folder in folders]
    await until(lambda: all(len(_children(pid)) == 1 for pid in pids))
    supervisors = [_parent(pid) for pid in pids]

    assert sum(_pss(pid) for pid in (*pids, *supervisors)) / len(pids) <= 5 << 20


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that others reach: pytest's own are closed to them."""
    with tempfile.TemporaryDirectory(prefix="bessemer-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o777)
        yield Path(name)


def test_an_ordinary_user_has_the_same_sandbox(open_folder: Path) -> None:
    python = "/usr/bin/python3"
    if os.getuid() != 0:
        pytest.skip("the other tests run as an ordinary user already")
    version = subprocess.run([python, "-V"], capture_output=True, text=True, check=False).stdout
    if tuple(map(int, version.split()[-1].split(".")[:2] if version else (0, 0))) < (3, 11):
        pytest.skip(f"needs {python} 3.11 or newer, which an ordinary user can reach")
    sources = open_folder / "sources"
    shutil.copytree(Path(__file__).parents[2] / "src", sources)
    program = open_folder / "program.py"
    program.write_text(Path(__file__).with_name("runtime_as_user.py").read_text())
    for path in (open_folder, *open_folder.rglob("*")):
        path.chmod(path.stat().st_mode | 0o055)
    open_folder.chmod(0o777)
    ended = subprocess.run(
        [python, program, open_folder / "home"], user=65534, group=65534, extra_groups=[],
        env={"PYTHONPATH": str(sources), "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.defpath},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert ended.stderr == ""
    assert ended.stdout.splitlines() == [
        "sandbox", "EXITED 0 65534", "core_pattern refused", "LOST", "OOM 137",
    ]  # fmt: skip


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def _parent(pid: int) -> int:
    return int(read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()[1])


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except PermissionError:
        pytest.skip("only root can look into an init")
    for line in lines:
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no Pss of {pid}")
