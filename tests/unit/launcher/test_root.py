"""Paths inside a container's root stay inside it, whatever links are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from bessemer.launcher.root import _inside


@pytest.mark.parametrize(
    ("link", "path", "leads_to"),
    [
        ("/etc", "/link/x", "/etc/x"),
        ("../../../etc", "/a/link/x", "/etc/x"),
        ("b", "/a/link/x", "/a/b/x"),
        ("/a/../../..", "/link/x", "/x"),
        ("none", "/a/../../../etc", "/etc"),
    ],
)
def test_links_end_inside(tmp_path: Path, link: str, path: str, leads_to: str) -> None:
    (tmp_path / "a").mkdir()
    for folder in (tmp_path, tmp_path / "a"):
        (folder / "link").symlink_to(link)

    assert _inside(str(tmp_path), path) == str(tmp_path) + leads_to


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")

    with pytest.raises(OSError, match="Too many levels"):
        _inside(str(tmp_path), "/link/x")
