"""What holds for all tests: none leaves a process behind, none fails for a slow machine."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, settings

import harness
import postgresql_server

settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

SMALL_MIB = 40
END_SECONDS = 15.0  # for what was told to end by the last tests


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own that is soon full."""
    folder = tmp_path / "small"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={SMALL_MIB}m"]
    command = ["mount", *options, "bessemer-test", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgresql_server.Server]:
    """A server; those who ask for it are of the group "postgresql", so that there is one."""
    with postgresql_server.running() as server:
        yield server


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql"))]
)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new database of each sort that Bessemer keeps its history in."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/history.db"
    server: postgresql_server.Server = request.getfixturevalue("postgresql")
    return server.create()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail where xdist can't keep a group together: its tests share one Bessemer, or one home."""
    grouped = item.get_closest_marker("xdist_group") is not None
    if grouped and getattr(item.config.option, "loadgroup", False) and "@" not in item.nodeid:
        pytest.fail("this pytest-xdist ignores the groups of tests; pin another", pytrace=False)


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail the run, and end them, if processes of the tests' own folders outlive the tests."""
    yield
    left = _processes_of(tmp_path_factory.getbasetemp())
    _, left = psutil.wait_procs(left, END_SECONDS)
    told = [_describe(process) for process in left]
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    assert told == [], "tests must end what they start"


def _processes_of(folder: Path) -> list[psutil.Process]:
    ours = {process.pid for process in psutil.Process().parents()}  # they may name the folder
    found = []
    for pid in harness.processes_of(folder):
        with contextlib.suppress(psutil.Error):
            if pid not in ours:
                found.append(psutil.Process(pid))
    return found


def _describe(process: psutil.Process) -> str:
    """Its command, and where in the tests' folder it works: that names the test."""
    with contextlib.suppress(psutil.Error, OSError):
        mounts = Path(f"/proc/{process.pid}/mountinfo").read_text().split()
        homes = sorted(word for word in mounts if "/pods/" in word)
        return f"{process.pid}: {process.cmdline()} in {process.cwd()}; {homes[:1]}"
    return f"{process.pid}: ended just now"
