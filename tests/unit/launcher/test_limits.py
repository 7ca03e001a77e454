"""Limits as cgroup files, in both versions, over plain folders."""

from __future__ import annotations

import os
from pathlib import Path

from bessemer.launcher.limits import Cgroup, watcher

LIMITS = {"memory": 64 << 20, "cpu": 0.5, "processes": 20}


def test_version_1_has_a_folder_a_controller(tmp_path: Path) -> None:
    paths = {name: str(tmp_path / name / "c") for name in ("memory", "cpu", "pids")}
    group = Cgroup(paths, 1)
    group.create(LIMITS)
    group.add(7)

    assert (tmp_path / "memory/c/memory.limit_in_bytes").read_text() == str(64 << 20)
    assert (tmp_path / "cpu/c/cpu.cfs_quota_us").read_text() == "50000"
    assert (tmp_path / "pids/c/pids.max").read_text() == "20"
    assert (tmp_path / "pids/c/cgroup.procs").read_text() == "7"


def test_version_2_has_one_folder(tmp_path: Path) -> None:
    group = Cgroup(dict.fromkeys(("memory", "cpu", "pids"), str(tmp_path / "c")), 2)
    group.create(LIMITS)
    (tmp_path / "c" / "memory.events").write_text("max 9\noom 1\noom_kill 1\n")

    assert (tmp_path / "c/memory.max").read_text() == str(64 << 20)
    assert (tmp_path / "c/cpu.max").read_text() == "50000 100000"
    assert group.out_of_memory()


def test_without_an_event_nothing_was_killed(tmp_path: Path) -> None:
    group = Cgroup({"memory": str(tmp_path)}, 1)
    (tmp_path / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 0\n")

    assert not group.out_of_memory()
    assert not Cgroup({}, 0).out_of_memory()


def test_an_empty_group_is_removed(tmp_path: Path) -> None:
    group = Cgroup({"pids": str(tmp_path / "c")}, 1)
    group.create({"memory": None, "cpu": None, "processes": None})
    group.remove()
    group.remove()

    assert not (tmp_path / "c").exists()


def test_a_watcher_is_there_only_where_no_cgroup_holds() -> None:
    assert watcher(LIMITS, ["memory"]) is None
    assert watcher({"memory": None}, []) is None
    tight, wide = watcher({"memory": 1}, []), watcher({"memory": 1 << 40}, [])

    assert tight is not None
    assert tight.exceeded([os.getpid()])
    assert wide is not None
    assert not wide.exceeded([os.getpid()])
