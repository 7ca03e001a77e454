"""Deleting trees that a program made to be hard to delete."""

from __future__ import annotations

import os
from pathlib import Path

from bessemer.base import trees

_DEEP = 3000


def test_a_tree_deeper_than_paths_and_descriptors_goes(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    here = os.open(root, os.O_RDONLY)
    for _ in range(_DEEP):
        os.mkdir("a", dir_fd=here)
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        below = os.open("a", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)

    trees.remove(root)

    assert not root.exists()


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    root = tmp_path / "root"
    (root / "below").mkdir(parents=True)
    (root / "below" / "link").symlink_to(kept)
    (root / "link").symlink_to(kept)

    trees.remove(root)

    assert not root.exists()
    assert (kept / "file").exists()


def test_a_link_in_its_place_is_all_that_goes(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")

    trees.remove(tmp_path / "link")

    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_folders_without_rights_go(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("a/b/c", "d/e"):
        (root / name).mkdir(parents=True)
        (root / name / "file").touch()
    for path in sorted(root.rglob("*"), reverse=True):
        path.chmod(0)
    root.chmod(0)

    trees.remove(root)

    assert not root.exists()


def test_what_is_not_there_is_no_fault(tmp_path: Path) -> None:
    trees.remove(tmp_path / "nothing")

    assert list(tmp_path.iterdir()) == []
