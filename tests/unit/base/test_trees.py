"""Trees as an adversary leaves them: deep, without rights, full of links; measured and removed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bessemer.base import trees

DEEP = 3000
#: Deeper than a path can be long, descriptors can be open, or a stack is.
_DIG = f"import os\nfor _ in range({DEEP}): os.mkdir('d'); os.chdir('d')\nopen('f', 'w')"
#: An ordinary user's folders without rights are closed to himself, which to root they aren't.
_AS_USER = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
_REMOVE = (
    "import sys; from pathlib import Path; from bessemer.base import trees; "
    "trees.remove(Path(sys.argv[1]))"
)


def test_it_measures_as_du_does(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "big").write_bytes(os.urandom(300_000))
    os.link(root / "a" / "big", root / "again")
    (root / "a" / "b" / "small").write_bytes(b"x")
    with (root / "sparse").open("wb") as file:
        file.truncate(10**9)
    (root / "out").symlink_to("/usr")
    du = subprocess.run(
        ["du", "-s", "-B1", str(root)], capture_output=True, text=True, check=True
    ).stdout.split()[0]

    # du counts the folder itself, too.
    assert trees.measure(root) == int(du) - root.stat().st_blocks * 512
    assert trees.measure(tmp_path / "none") == 0
    assert trees.measure(root / "out") == 0


def test_a_tree_nested_beyond_all_measure_is_boundless_and_can_be_removed(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    subprocess.run([sys.executable, "-c", _DIG], cwd=root, check=True)
    (root / "beside").write_bytes(b"x")

    assert trees.measure(root) == trees.BOUNDLESS
    trees.remove(root)
    assert not root.exists()


def test_links_are_removed_and_what_they_lead_to_stays(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    root = tmp_path / "tree"
    (root / "a").mkdir(parents=True)
    (root / "a" / "out").symlink_to(kept)
    (root / "a" / "loop").symlink_to(root)
    (tmp_path / "link").symlink_to(kept)

    trees.remove(root)
    trees.remove(tmp_path / "link")
    trees.remove(tmp_path / "none")

    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (kept / "file").exists()


def test_folders_without_rights_are_removed_by_their_owner(tmp_path: Path) -> None:
    if subprocess.run([*_AS_USER, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine has no user namespaces")
    root = tmp_path / "tree"
    for names in ("a/b/c", "a/d", "e"):
        (root / names).mkdir(parents=True)
        (root / names / "file").touch()
    for names in ("a/b/c", "a/b", "a", "e", "."):
        (root / names).chmod(0)

    subprocess.run([*_AS_USER, sys.executable, "-c", _REMOVE, str(root)], check=True)

    assert not root.exists()


def test_a_walk_ends_when_it_is_told_to(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()

    with pytest.raises(trees.Stopped):
        trees.measure(tmp_path, stop)
