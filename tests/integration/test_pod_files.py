"""What lies in pods' folders: damaged files, rotated logs, and what ``prune`` leaves of them."""

from __future__ import annotations

import http.client
import itertools
import os
import shutil
import signal
import ssl
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

import harness
from bessemer.cluster.kubelet.runtime import records

pytestmark = pytest.mark.timeout(240)

PODS = "/api/v1/namespaces/default/pods"
MIB = 2**20
LINE = b"%011d\n"


def cli(one: harness.Running, *arguments: str) -> harness.Ended:
    return harness.run(*arguments, "--home", str(one.home))


def start(one: harness.Running, name: str, script: str, **spec: Any) -> Path:
    """A pod of one container; its folder."""
    container = {"name": "main", "image": "busybox", "command": ["sh", "-c", script]}
    body = {"restartPolicy": "Never", "containers": [container], **spec}
    pod = one.create(PODS, {"metadata": {"name": name}, "spec": body})
    return one.home / "pods" / str(pod["metadata"]["uid"])


def phases(found: list[Any]) -> set[str]:
    return {pod.get("status", {}).get("phase", "") for pod in found}


def empty(path: Path) -> None:
    path.write_bytes(b"")


def replace(path: Path, data: bytes) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.write_bytes(data)


def make_folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def make_pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": empty,
    "garbage": lambda path: replace(path, bytes(range(256)) * 16),
    "list": lambda path: replace(path, b"[1, 2]"),
    "deep": lambda path: replace(path, b"[" * 50_000),
    "wrong": lambda path: replace(path, b'{"pid": "x", "supervisor": 3, "at": [], "code": "y"}'),
    "numbers": lambda path: replace(
        path,
        b'{"pid": -1, "start_time": "0", "at": "2026-01-01T00:00:00.000000Z", "code": 1e99, '
        b'"supervisor": {"pid": 99999999999999999999, "start_time": "0"}, "spec": "/etc/passwd"}',
    ),
    "folder": make_folder,
    "pipe": make_pipe,
    "gone": lambda path: path.unlink(missing_ok=True),
}
FILES = ("started", "exit", "termination", "log", "address")


def place(folder: Path, name: str) -> Path:
    attempt = folder / "containers" / "main" / "0"
    return folder / name if name == "address" else attempt / name


def test_no_damaged_file_of_a_pod_keeps_anything_from_working(tmp_path: Path) -> None:
    with harness.bessemer(tmp_path) as one:
        folders = {
            f"{file}-{kind}": start(one, f"{file}-{kind}", "trap 'exit 0' TERM; sleep 60 & wait")
            for file, kind in itertools.product(FILES, DAMAGES)
        }
        start(one, "whole", "echo well; sleep 600")
        one.until(PODS, lambda found: phases(found) == {"Running"})
        one.kill9()
        for name, folder in folders.items():
            file, _, kind = name.partition("-")
            DAMAGES[kind](place(folder, file))
        (folders["log-empty"] / "containers" / "main" / "²").mkdir()
        (folders["log-empty"] / "containers" / "main" / ("9" * 200)).mkdir()

        one.restart()
        assert cli(one, "status").code == 0
        for name in folders:
            if name != "log-garbage":  # which is a log as any other
                assert one.request("GET", f"{PODS}/{name}/log")[0] in (200, 400)
        assert cli(one, "logs", "whole").out == "well\n"
        for name in ("started-wrong", "exit-folder", "termination-pipe"):
            one.delete(f"{PODS}/{name}?gracePeriodSeconds=0")
        down = cli(one, "down")

        assert (down.code, one.wait()) == (0, 0), down
        assert one.processes() == []
        assert not [line for line in one.lines if "Traceback" in line]
        assert cli(one, "prune").code == 0


def test_records_of_any_shape_are_read_or_are_none(tmp_path: Path) -> None:
    for kind, damage in DAMAGES.items():
        for name in ("started", "exit"):
            (tmp_path / name).touch()
            damage(tmp_path / name)
        assert records.read_started(tmp_path) == {}, kind
        assert records.read_exit(tmp_path) == {}, kind
        assert isinstance(records.read_text(tmp_path / "exit", 99), str)
        for name in ("started", "exit"):
            path = tmp_path / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


# ---- rotated logs


def stream(one: harness.Running, path: str) -> Generator[bytes, None, None]:
    """The lines of an answer, as they come."""
    context = ssl.create_default_context(cafile=str(one.ca))
    connection = http.client.HTTPSConnection(harness.HOST, one.port, timeout=60, context=context)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {one.token}"})
        yield from connection.getresponse()
    finally:
        connection.close()


def test_a_log_reads_as_one_across_its_files(tmp_path: Path) -> None:
    lines = 2_500_000  # 30 MB: three files
    script = (
        f"seq -f %011.0f {lines}; while [ ! -e /tmp/go ]; do sleep 0.05; done; "
        f"seq -f %011.0f {lines + 1} {2 * lines}; echo end"
    )
    with harness.bessemer(tmp_path) as one:
        folder = start(one, "talks", script)
        attempt = folder / "containers" / "main" / "0"
        one.until(PODS, lambda found: phases(found) == {"Running"})
        following = stream(one, f"{PODS}/talks/log?follow=true")
        assert [next(following) for _ in range(lines)][-1] == LINE % lines
        assert len(list(attempt.glob("log*"))) == 3
        # Killed in the middle, the control plane finds the log again, which has been going on.
        one.kill9()
        following.close()
        (attempt / "tmp" / "go").touch()
        one.restart()
        one.until(PODS, lambda found: phases(found) == {"Succeeded"})

        assert len(list(attempt.glob("log*"))) == 5
        followed = list(stream(one, f"{PODS}/talks/log?follow=true"))
        first = int(followed[0])
        assert followed[:-1] == [LINE % number for number in range(first, 2 * lines + 1)]
        assert 40 * MIB < len(followed) * 12 <= 51 * MIB
        tail = one.get(f"{PODS}/talks/log?tailLines=1200000")
        assert tail == "".join(map(bytes.decode, followed[-1_200_000:]))
        assert one.get(f"{PODS}/talks/log?sinceSeconds=3600&tailLines=1") == "end\n"
        assert one.get(f"{PODS}/talks/log?limitBytes=12").encode() == followed[0]


# ---- prune


def test_prune_keeps_what_is_used_and_tells_what_it_took(tmp_path: Path) -> None:
    with harness.bessemer(tmp_path) as one:
        python = {"image": "python:3.11", "name": "main", "command": ["python3", "-c", "print(1)"]}
        ended = start(one, "ended", "echo said", containers=[python])
        one.until(PODS, lambda found: phases(found) == {"Succeeded"})
        goes_on = start(one, "goes-on", "echo on; sleep 600", restartPolicy="Always")
        one.until(PODS, lambda found: phases(found) == {"Succeeded", "Running"})
        deployment = {
            "metadata": {"name": "none"},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"app": "none"}},
                "template": {
                    "metadata": {"labels": {"app": "none"}},
                    "spec": {"containers": [python]},
                },
            },
        }
        deployments = "/apis/apps/v1/namespaces/default/deployments"
        one.create(deployments, deployment)
        (environment,) = (path for path in one.home.glob("environments/*") if path.is_dir())
        assert cli(one, "down").code == 0
        one.wait()
        attempt = goes_on / "containers" / "main" / "0"
        (attempt / "log.1").write_bytes(b"on\n")
        (one.home / "environments" / "unused").mkdir()
        (one.home / "environments" / "unused" / "file").write_bytes(bytes(50_000))

        before = sorted(one.home.rglob("*"))
        dry = cli(one, "prune", "--dry-run")
        assert dry.code == 0, dry.err
        assert sorted(one.home.rglob("*")) == before
        told = cli(one, "prune")

        assert told.code == 0, told.err
        assert [line.split()[-3:] for line in dry.out.splitlines()[1:]] == [
            line.split()[-3:] for line in told.out.splitlines()[1:]
        ]
        assert str(ended) in dry.err
        assert environment.exists()
        assert not (one.home / "environments" / "unused").exists()
        assert not ended.exists()
        assert sorted(path.name for path in attempt.glob("log*")) == ["log.1"]

        one.restart()
        status, answer = one.request("GET", f"{PODS}/ended/log")
        assert status == 400
        assert 'the log of container "main" in pod "ended" was pruned' in answer["message"]
        one.delete(f"{deployments}/none")
        assert one.stop(signal.SIGTERM) == 0
        one.restart()
        one.delete(f"{PODS}/ended")
        assert one.stop() == 0, one.lines
        assert cli(one, "prune").code == 0
        assert not environment.exists()
