"""Paths inside a container's root stay inside it, whatever links are there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bessemer.launcher.root import _hold, _reach


def reach(root: Path, path: str) -> str:
    """Make the folder, and say where it is."""
    with _hold(os.open(root, os.O_PATH)) as folder, _hold(_reach(folder, path, os.mkdir)) as place:
        return str(Path(f"/proc/self/fd/{place}").readlink()).removeprefix(str(root))


@pytest.mark.parametrize(
    ("link", "path", "leads_to"),
    [
        ("/etc", "/link/x", "/etc/x"),
        ("../../../etc", "/a/link/x", "/etc/x"),
        ("b", "/a/link/x", "/a/b/x"),
        ("/a/../../..", "/link/x", "/x"),
        ("none", "/a/../../../etc", "/etc"),
        ("none", "/new/../../other/x", "/other/x"),
        ("/", "/link", ""),
    ],
)
def test_links_end_inside(tmp_path: Path, link: str, path: str, leads_to: str) -> None:
    (tmp_path / "a").mkdir()
    for folder in (tmp_path, tmp_path / "a"):
        (folder / "link").symlink_to(link)

    assert reach(tmp_path, path) == leads_to
    assert (tmp_path / leads_to.lstrip("/")).is_dir()


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")

    with pytest.raises(OSError, match="Too many levels"):
        reach(tmp_path, "/link/x")


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    (tmp_path / "link").symlink_to("a/b")
    reach(tmp_path, "/link/x/y")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        reach(tmp_path, "/file/x/y")

    assert len(os.listdir("/proc/self/fd")) == before
