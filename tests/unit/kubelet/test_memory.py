"""The home's folder in memory: private, and nobody else's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bessemer.base.home import Home
from bessemer.cluster.kubelet.volumes import memory


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    if not memory.locate(home).parent.is_dir():
        pytest.skip("this machine has no /dev/shm")
    yield home
    memory.remove(home)


def test_it_is_made_once_and_for_its_owner_alone(home: Home) -> None:
    made = memory.make(home)

    assert made is not None
    assert made.stat().st_mode & 0o777 == 0o700
    assert memory.make(home) == made
    assert memory.locate(Home(home.root / "other")) != made


@pytest.mark.parametrize("trap", ["link", "open", "file"])
def test_what_somebody_else_may_enter_is_not_taken(home: Home, tmp_path: Path, trap: str) -> None:
    place = memory.locate(home)
    if trap == "link":
        place.symlink_to(tmp_path)
    elif trap == "open":
        place.mkdir()
        place.chmod(0o755)
    else:
        place.touch()
    try:
        assert memory.make(home) is None
    finally:
        place.rmdir() if trap == "open" else place.unlink()


def test_it_goes_when_empty_and_stays_while_a_pod_needs_it(home: Home) -> None:
    made = memory.make(home)
    assert made is not None
    (made / "pod").mkdir()
    memory.remove_if_empty(home)
    assert made.is_dir()

    (made / "pod").rmdir()
    memory.remove_if_empty(home)
    assert not made.exists()
