"""Where cgroups can be made, over plain folders."""

from __future__ import annotations

from pathlib import Path

from bessemer.cluster.kubelet.runtime import cgroups
from bessemer.cluster.kubelet.runtime.base import Limits


def test_version_1_takes_the_controllers_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "memory" / "ours").mkdir(parents=True)
    (tmp_path / "memory" / "ours" / "cgroup.procs").touch()
    found = cgroups.find_cgroups("ours", tmp_path)

    assert (found.version, found.folders) == (1, {"memory": tmp_path / "memory" / "ours"})
    paths = found.paths("c", Limits(memory=1, cpu=1))
    assert paths == {"memory": str(tmp_path / "memory" / "ours" / "c")}
    assert found.paths("c", Limits(cpu=1)) == {}
    assert found.programs(paths) == {}
    assert found.programs({}) == {"memory": str(tmp_path / "memory" / "ours" / "programs")}


def test_version_2_takes_the_controllers_that_are_offered(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu io memory\n")
    (tmp_path / "cgroup.procs").touch()
    found = cgroups.find_cgroups("ours", tmp_path)

    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory +cpu"
    assert found.version == 2


def test_without_cgroups_there_are_none(tmp_path: Path) -> None:
    assert cgroups.find_cgroups("ours", tmp_path) == cgroups.NO_CGROUPS


def test_what_can_be_written_in_proc_is_found() -> None:
    found = cgroups.writable_proc_entries()

    assert "sys" in found
    assert not [name for name in found if name.isdigit() or name in ("self", "cpuinfo")]
