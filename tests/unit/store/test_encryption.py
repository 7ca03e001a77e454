"""Sealing: bound to key and place, rotated by order, its file private."""

import base64
from pathlib import Path

import pytest

from bessemer.base.errors import BessemerError
from bessemer.cluster.store import encryption
from bessemer.cluster.store.encryption import Sealer

OLD, NEW = b"o" * 32, b"n" * 32


def test_sealed_bytes_differ_each_time_and_open_again() -> None:
    sealer = Sealer([OLD])
    first, second = sealer.seal("a", b"data"), sealer.seal("a", b"data")
    assert first != second
    assert b"data" not in first
    assert sealer.unseal("a", first) == sealer.unseal("a", second) == b"data"


def test_bytes_moved_to_another_place_do_not_open() -> None:
    sealed = Sealer([OLD]).seal("secrets/mine/a", b"data")
    with pytest.raises(BessemerError, match="bytes were changed"):
        Sealer([OLD]).unseal("secrets/yours/a", sealed)


@pytest.mark.parametrize("broken", [b"{}", b"bessemer1:", b"bessemer1:00000000:xx"])
def test_what_was_not_sealed_is_refused(broken: bytes) -> None:
    with pytest.raises(BessemerError):
        Sealer([OLD]).unseal("a", broken)


def test_after_a_rotation_old_bytes_open_and_new_ones_use_the_new_key() -> None:
    sealed = Sealer([OLD]).seal("a", b"data")
    both = Sealer([NEW, OLD])
    assert both.unseal("a", sealed) == b"data"
    assert Sealer([NEW]).unseal("a", both.seal("a", b"more")) == b"more"


def test_the_key_file_is_made_private_once(tmp_path: Path) -> None:
    path = tmp_path / "key"
    sealed = encryption.load(path).seal("a", b"data")
    assert path.stat().st_mode & 0o777 == 0o600
    assert encryption.load(path).unseal("a", sealed) == b"data"
    assert [file.name for file in tmp_path.iterdir()] == ["key"]


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    encryption.load(path)
    path.chmod(0o644)
    with pytest.raises(BessemerError, match="mode 644: chmod 600"):
        encryption.load(path)


@pytest.mark.parametrize("text", ["", "no base64!", base64.b64encode(b"short").decode()])
def test_a_file_without_keys_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(BessemerError, match="holds no keys"):
        encryption.load(path)
