"""The runtime port's laws, over both implementations."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from bessemer.cluster.kubelet.runtime import rotation
from bessemer.cluster.kubelet.runtime.base import (
    AlreadyStarted,
    ContainerState,
    Limits,
    Mount,
    RuntimeFailure,
)
from contract.runtime.bench import PATIENCE, Bench, processes_with, read, until

ENVIRONMENT = Path(sys.prefix)  # where the tests themselves run


async def test_an_exit_code_is_kept(bench: Bench) -> None:
    seen, _ = await bench.run("sh", "-c", "exit 3")

    assert (seen.state, seen.exit_code, seen.signal) == (ContainerState.EXITED, 3, 0)
    assert seen.started_at is not None
    assert seen.finished_at is not None
    assert seen.started_at <= seen.finished_at


async def test_a_folder_made_ahead_is_as_good_as_a_new_one(bench: Bench) -> None:
    spec = bench.spec("sh", "-c", "touch ~/a; echo out; exit 3")
    spec.folder.mkdir(parents=True)
    bench.runtime.lay_out(spec.folder)
    assert bench.runtime.observe(spec.folder).state is ContainerState.CREATED
    before = {path.name for path in spec.folder.iterdir()}
    await bench.runtime.start(spec)
    seen = await bench.wait(spec.folder)

    assert (seen.exit_code, (spec.folder / "log").read_text()) == (3, "out\n")
    left = {path.name for path in spec.folder.iterdir()}
    assert left == {name.removesuffix(".tmp") for name in before} | {"spec.json"}


async def test_env_and_working_dir_are_exact(bench: Bench, tmp_path: Path) -> None:
    seen, log = await bench.run(
        "sh", "-c", 'pwd; echo "$A|$PATH"', env={"A": "x y", "PATH": "/usr/bin:/bin"},
        working_dir="/usr/lib",
    )  # fmt: skip

    assert seen.exit_code == 0
    assert log == "/usr/lib\nx y|/usr/bin:/bin\n"


async def test_nothing_of_our_own_environment_leaks(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_CONTROL_PLANE", "hush")
    _, log = await bench.run("env")

    assert "hush" not in log
    assert {line.partition("=")[0] for line in log.splitlines()} <= {
        "PATH", "HOME", "HOSTNAME", "TMPDIR",
    }  # fmt: skip


async def test_output_of_both_streams_is_whole_and_in_order(bench: Bench) -> None:
    _, log = await bench.run("sh", "-c", "for i in 1 2 3; do echo o$i; echo e$i >&2; done")

    assert log == "o1\ne1\no2\ne2\no3\ne3\n"


async def test_output_is_whole_up_to_the_size_of_the_log(bench: Bench) -> None:
    folder = await bench.start("sh", "-c", "seq 7000000 | head -c 50000000")
    await bench.wait(folder)

    text = b"".join(path.read_bytes() for path in rotation.files(folder).values())
    assert len(text) == 50_000_000
    assert text.startswith(b"1\n2\n3\n")
    numbers = list(map(int, text.split()[:-1]))
    assert numbers == list(range(1, len(numbers) + 1))


async def test_of_100_megabytes_of_output_the_end_is_kept_in_order(bench: Bench) -> None:
    folder = await bench.start("sh", "-c", "seq -f %09.0f 10000000; echo end >&2")
    await bench.wait(folder)

    files = rotation.files(folder)
    assert len(files) == 5
    assert sum(path.stat().st_size for path in files.values()) <= 50 * 2**20
    text = b"".join(path.read_bytes() for path in files.values())
    first, last = int(text[:9]), 10_000_000
    assert text == b"".join(b"%09d\n" % n for n in range(first, last + 1)) + b"end\n"
    assert last - first > 4_000_000


async def test_a_folder_is_started_once_only(bench: Bench) -> None:
    spec = bench.spec("sh", "-c", "echo ran")
    await bench.runtime.start(spec)
    await bench.wait(spec.folder)

    with pytest.raises(AlreadyStarted):
        await bench.runtime.start(spec)
    assert (spec.folder / "log").read_text() == "ran\n"


async def test_of_two_starts_at_once_one_is_refused(bench: Bench) -> None:
    spec = bench.spec("sh", "-c", "echo ran")
    results = await asyncio.gather(
        bench.runtime.start(spec), bench.runtime.start(spec), return_exceptions=True
    )
    await bench.wait(spec.folder)

    assert sorted(type(one).__name__ for one in results) == ["AlreadyStarted", "NoneType"]
    assert (spec.folder / "log").read_text() == "ran\n"


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        (("nosuch",), 127, 'exec: "nosuch": executable file not found in $PATH'),
        (("/no/such",), 127, 'exec: "/no/such": no such file or directory'),
        (("/usr",), 126, 'exec: "/usr": permission denied'),
    ],
)
async def test_a_command_that_cannot_run_says_why(
    bench: Bench, argv: tuple[str, ...], code: int, text: str
) -> None:
    seen, _ = await bench.run(*argv)

    assert (seen.state, seen.exit_code) == (ContainerState.EXITED, code)
    assert seen.start_error == text


async def test_a_missing_working_dir_is_made_in_the_container(bench: Bench) -> None:
    seen, log = await bench.run(
        "sh", "-c", "pwd; : > written && ls", working_dir="/home/pod/new/folder"
    )

    assert (seen.exit_code, seen.start_error) == (0, "")
    assert log.split("\n")[0].endswith("/new/folder")
    assert log.split("\n")[1:] == ["written", ""]


async def test_a_working_dir_that_can_not_be_made_is_a_start_error(bench: Bench) -> None:
    seen, _ = await bench.run("true", working_dir="/usr/no/such/folder")

    assert seen.exit_code == 128
    assert seen.start_error == "/usr/no/such/folder: No such file or directory"
    assert "no" not in os.listdir("/usr")


async def test_sigterm_reaches_the_command(bench: Bench) -> None:
    folder = await bench.start(
        "sh", "-c", "trap 'echo bye; exit 5' TERM; echo up; sleep 60 & wait"
    )
    await until(lambda: "up" in (folder / "log").read_text())
    await bench.runtime.signal(folder, signal.SIGTERM)

    seen = await bench.wait(folder)
    assert seen.exit_code == 5
    assert (folder / "log").read_text() == "up\nbye\n"


async def test_sigkill_ends_one_that_ignores_sigterm(bench: Bench, mark: str) -> None:
    name, _, value = mark.partition("=")
    folder = await bench.start(
        "sh", "-c", "trap '' TERM; echo up; while :; do sleep 60; done", env={name: value}
    )
    await until(lambda: "up" in (folder / "log").read_text())
    await bench.runtime.signal(folder, signal.SIGTERM)
    assert bench.runtime.observe(folder).state is ContainerState.RUNNING
    await bench.runtime.signal(folder, signal.SIGKILL)

    seen = await bench.wait(folder)
    assert (seen.exit_code, seen.signal) == (137, 9)
    assert processes_with(mark) == []


async def test_a_command_that_kills_itself_ends_with_137(bench: Bench) -> None:
    seen, _ = await bench.run("sh", "-c", "kill -9 $$")

    assert (seen.exit_code, seen.signal, seen.oom_killed) == (137, 9, False)


async def test_orphans_end_with_the_command(bench: Bench, mark: str) -> None:
    name, _, value = mark.partition("=")
    script = "(setsid sh -c 'setsid sleep 300 & sleep 300' &) ; (sleep 300 &) ; sleep 0.1; exit 4"
    seen, _ = await bench.run("sh", "-c", script, env={name: value})

    assert seen.exit_code == 4
    assert processes_with(mark) == []


async def test_a_killed_supervisor_means_lost_and_nothing_left(bench: Bench, mark: str) -> None:
    name, _, value = mark.partition("=")
    script = "(setsid sleep 300 &) ; echo up; sleep 300"
    folder = await bench.start("sh", "-c", script, env={name: value})
    await until(lambda: "up" in (folder / "log").read_text())
    os.kill(_supervisor(folder), signal.SIGKILL)

    seen = await bench.wait(folder)
    assert seen.state is ContainerState.LOST
    await until(lambda: not processes_with(mark))


async def test_a_new_runtime_adopts_what_runs(bench: Bench) -> None:
    folder = await bench.start("sh", "-c", "trap 'exit 7' TERM; echo up; sleep 60 & wait")
    await until(lambda: "up" in (folder / "log").read_text())
    before = bench.runtime.observe(folder)
    await bench.runtime.close()
    bench.runtime = bench.make()

    after = bench.runtime.observe(folder)
    assert (after.state, after.pid) == (ContainerState.RUNNING, before.pid)
    waiting = asyncio.create_task(bench.wait(folder))
    await bench.runtime.signal(folder, signal.SIGTERM)
    assert (await waiting).exit_code == 7


async def test_a_killed_zygote_is_replaced_and_containers_live_on(bench: Bench) -> None:
    folder = await bench.start("sh", "-c", "trap 'exit 7' TERM; echo up; sleep 60 & wait")
    await until(lambda: "up" in (folder / "log").read_text())
    zygote = bench.runtime._zygotes._process  # type: ignore[attr-defined]  # to kill it
    zygote.kill()
    await zygote.wait()

    seen, log = await bench.run("echo", "again")
    assert (seen.exit_code, log) == (0, "again\n")
    assert bench.runtime.observe(folder).state is ContainerState.RUNNING


async def test_too_much_memory_is_an_oom_kill(bench: Bench) -> None:
    seen, _ = await bench.run(
        "python", "-c", "x = bytearray(300 << 20); import time; time.sleep(60)",
        limits=Limits(memory=64 << 20), environment=ENVIRONMENT,
    )  # fmt: skip

    assert (seen.exit_code, seen.oom_killed) == (137, True)


async def test_within_its_limits_nothing_happens(bench: Bench) -> None:
    limits = Limits(memory=256 << 20, cpu=0.5, processes=50)
    seen, _ = await bench.run(
        "python", "-c", "x = bytearray(20 << 20)", limits=limits, environment=ENVIRONMENT
    )

    assert (seen.exit_code, seen.oom_killed) == (0, False)


async def test_the_limit_of_processes_holds_or_is_named(bench: Bench) -> None:
    limits = Limits(processes=10)
    unheld = bench.runtime.unheld(limits)
    seen, log = await bench.run(
        "sh", "-c", "for i in $(seq 30); do sleep 30 & done; echo all", limits=limits
    )

    assert ("all" in log) == bool(unheld)
    assert seen.state is ContainerState.EXITED


async def test_the_termination_message_is_read(bench: Bench) -> None:
    if not bench.is_sandbox:
        pytest.skip("without a mount namespace /dev/termination-log is not the container's own")
    seen, _ = await bench.run("sh", "-c", "echo because > /dev/termination-log; exit 1")

    assert (seen.exit_code, seen.message) == (1, "because\n")


async def test_a_command_beside_it_sees_what_it_sees(bench: Bench) -> None:
    folder = await bench.start("sh", "-c", "echo content > $HOME/f; echo up; sleep 60")
    await until(lambda: "up" in (folder / "log").read_text())

    good = await bench.runtime.execute(folder, ("sh", "-c", "cat $HOME/f; exit 6"), 10)
    slow = await bench.runtime.execute(folder, ("sh", "-c", "echo x; sleep 60"), 0.3)
    absent = await bench.runtime.execute(folder, ("nosuch",), 10)
    loud = await bench.runtime.execute(folder, ("sh", "-c", "yes | head -c 1000000"), 10)
    assert (good.code, good.output) == (6, b"content\n")
    assert (slow.code, slow.output) == (124, b"x\n")
    assert absent.code == 127
    assert b"not found" in absent.output
    assert (loud.code, len(loud.output)) == (0, 65536)


async def test_no_command_beside_an_ended_one(bench: Bench) -> None:
    folder = await bench.start("true")
    await bench.wait(folder)

    with pytest.raises(RuntimeFailure, match="running container"):
        await bench.runtime.execute(folder, ("true",), 1)


async def test_only_an_ended_one_is_removed(bench: Bench) -> None:
    folder = await bench.start("sleep", "60")
    with pytest.raises(RuntimeFailure, match="kill it first"):
        bench.runtime.remove(folder)
    await bench.runtime.signal(folder, signal.SIGKILL)
    await bench.wait(folder)
    bench.runtime.remove(folder)

    assert not folder.exists()


async def test_a_container_ends_when_its_folder_is_deleted(bench: Bench, mark: str) -> None:
    name, _, value = mark.partition("=")
    folder = await bench.start("sh", "-c", "echo up; sleep 300", env={name: value})
    await until(lambda: "up" in (folder / "log").read_text())
    supervisor = _supervisor(folder)
    shutil.rmtree(folder, ignore_errors=True)

    await until(lambda: not processes_with(mark))
    await until(lambda: not Path(f"/proc/{supervisor}").exists())
    assert processes_with(mark) == []


async def test_a_mount_at_its_own_path_is_seen(bench: Bench, tmp_path: Path) -> None:
    data = tmp_path / "volumes" / "data"
    data.mkdir(parents=True)
    mounts = (Mount(data, str(data), read_only=False),)
    seen, _ = await bench.run("sh", "-c", f"echo new > {data}/f", mounts=mounts)

    assert seen.exit_code == 0
    assert (data / "f").read_text() == "new\n"


async def test_a_part_of_a_volume_below_the_home_is_seen(bench: Bench, tmp_path: Path) -> None:
    data = tmp_path / "volumes" / "data"
    (data / "a").mkdir(parents=True)
    (data / "a" / "f").write_text("content")
    mounts = (
        Mount(data, "/home/pod/part", below="a", read_only=False),
        Mount(data, "/home/pod/file", below="a/f"),
    )
    script = 'cat "$HOME/part/f" "$HOME/file"; echo new > "$HOME/part/g"'
    seen, log = await bench.run("sh", "-c", script, mounts=mounts)

    assert (seen.exit_code, log) == (0, "contentcontent")
    assert (data / "a" / "g").read_text() == "new\n"


async def test_a_read_only_root_is_had_or_refused(bench: Bench) -> None:
    if bench.is_sandbox:
        seen, _ = await bench.run("sh", "-c", "! touch /x", read_only=True)
        assert seen.exit_code == 0
        return
    with pytest.raises(RuntimeFailure, match="readOnlyRootFilesystem needs namespaces"):
        await bench.run("true", read_only=True)


async def test_many_at_once_all_end_rightly(bench: Bench) -> None:
    seen = await asyncio.gather(*(bench.run("sh", "-c", f"echo {n}; exit {n}") for n in range(30)))

    assert [one.exit_code for one, _ in seen] == list(range(30))
    assert [log for _, log in seen] == [f"{n}\n" for n in range(30)]


def _supervisor(folder: Path) -> int:
    return int(json.loads((folder / "started").read_text())["supervisor"]["pid"])


async def test_what_a_lost_container_left_behind_is_ended(bench: Bench) -> None:
    left = await asyncio.create_subprocess_exec("sleep", "300", start_new_session=True)
    started_at = read(Path(f"/proc/{left.pid}/stat")).rpartition(")")[2].split()[19]
    folder = bench.home / "pods" / "lost"
    folder.mkdir(parents=True)
    record = {
        "pid": left.pid, "start_time": started_at, "at": "2026-01-02T03:04:05.000000Z",
        "spec": "", "supervisor": {"pid": 2**22, "start_time": "1"},
    }  # fmt: skip
    (folder / "started").write_text(json.dumps(record))

    assert bench.runtime.observe(folder).state is ContainerState.LOST
    async with asyncio.timeout(PATIENCE):
        assert await left.wait() < 0  # a signal's


DAMAGED = {
    "empty": "", "null": "null", "list": "[]", "number": "7", "half": '{"pid": 1}',
    "types": '{"pid": "x", "start_time": 2}', "bytes": "\xff" * 9, "deep": "[" * 9999,
}  # fmt: skip


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
async def test_damaged_records_are_none(bench: Bench, text: str) -> None:
    folder = bench.home / "pods" / "damaged"
    folder.mkdir(parents=True)
    (folder / "started").write_text(text)

    assert bench.runtime.observe(folder).state is ContainerState.LOST
    await bench.runtime.signal(folder, signal.SIGKILL)
    with pytest.raises(RuntimeFailure, match="running container"):
        await bench.runtime.execute(folder, ("true",), 1)
    (folder / "exit").write_text(text)
    assert bench.runtime.observe(folder).state is ContainerState.LOST
