"""Somebody sets the wall clock while pods wait: they wait for time, not for a date."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bessemer.base.clock import SystemClock
from bessemer.cluster.kubelet.logs.port import LogOptions
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.pod import POD
from node_cluster import open_cluster

pytestmark = pytest.mark.timeout(60)

FOLLOW = LogOptions(follow=True)


class SetClock(SystemClock):
    """A wall clock that can be set; the monotonic one goes on."""

    def __init__(self) -> None:
        self.step = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.step


def restarts(pod: Object, count: int) -> bool:
    statuses = meta.dig(pod, "status.containerStatuses") or [{}]
    return bool(statuses[0].get("restartCount", 0) >= count)


def processes_of(script: str) -> list[Path]:
    """The folders in /proc of those that have ``script`` among their arguments."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended since
            if script.encode() in line.read_bytes().split(b"\0"):
                found.append(line.parent)
    return found


async def test_a_crash_loop_goes_on(tmp_path: Path) -> None:
    clock = SetClock()
    spec = {"restartPolicy": "Always", "terminationGracePeriodSeconds": 0}
    async with open_cluster(tmp_path / "home", clock=clock) as cluster:
        await cluster.run("a", "false", spec=spec)
        # The first restart comes at once, the second ten seconds later.
        # Not before the container has ended again, which its supervisor notes by its own clock.
        await cluster.until("a", lambda pod: restarts(pod, 1) and "CrashLoopBackOff" in str(pod))
        clock.step = timedelta(hours=-2)
        pod = await cluster.until("a", lambda pod: restarts(pod, 2))
    assert pod["status"]["containerStatuses"][0]["restartCount"] >= 2


async def test_what_could_not_be_started_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    clock = SetClock()
    async with open_cluster(tmp_path / "home", clock=clock) as cluster:
        await cluster.run("a", image="bessemer/modelserver:sklearn-0.0.1")
        await cluster.until("a", lambda pod: "ErrImagePull" in str(pod.get("status")))
        clock.step = timedelta(hours=-2)
        pod = await cluster.until("a", lambda pod: "ImagePullBackOff" in str(pod.get("status")))
    assert pod["status"]["phase"] == "Pending"


async def test_a_pod_that_is_deleted_is_killed_in_its_time(tmp_path: Path) -> None:
    clock = SetClock()
    script = f"trap '' TERM; echo up; while :; do sleep 1; done  # {tmp_path}"
    async with open_cluster(tmp_path / "home", clock=clock) as cluster:
        spec = {"terminationGracePeriodSeconds": 2}
        await cluster.run("a", "sh", "-c", script, spec=spec)
        pod = await cluster.phase("a", "Running")
        async for piece in cluster.logs.read(pod, FOLLOW):
            if b"up" in piece:
                break
        assert processes_of(script)
        await cluster.client.delete(POD, "a", "default")
        await cluster.event("a", "Killing")
        clock.step = timedelta(hours=-2)
        await cluster.gone("a")

        assert processes_of(script) == []
