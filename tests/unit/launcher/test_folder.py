"""What a folder tells: who holds it, whether it was started, records whole or absent."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bessemer.launcher import folder as folders
from bessemer.launcher.folder import Folder


def test_only_one_holds_the_lock(tmp_path: Path) -> None:
    first, second = Folder(str(tmp_path), ""), Folder(str(tmp_path), "")

    assert first.lock()
    assert not second.lock()
    os.close(first._directory)
    assert second.lock()
    os.close(second._directory)


@pytest.mark.parametrize("name", ["started", "exit"])
def test_a_record_means_that_it_was_started(tmp_path: Path, name: str) -> None:
    folder = Folder(str(tmp_path), "")
    assert not folder.was_started()
    folder.write(name, {"pid": 7})

    assert folder.was_started()
    assert json.loads((tmp_path / name).read_text()) == {"pid": 7}
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_record_takes_the_room_that_was_reserved_for_it(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path), "")
    folder.reserve("exit")
    before = (tmp_path / "exit.tmp").stat()
    assert before.st_blocks or before.st_size
    assert not folder.was_started()
    heard: list[str] = []
    folder.write("exit", {"code": 3}, lambda: heard.append((tmp_path / "exit").read_text()))

    after = (tmp_path / "exit").stat()
    assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size)
    assert [json.loads(text) for text in heard] == [{"code": 3}]
    assert [path.name for path in tmp_path.iterdir()] == ["exit"]


def test_the_log_is_appended_to_and_private(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path), "")
    for text in (b"a", b"b"):
        log = folder.open_log()
        log.write(text)
        log.close()

    assert (tmp_path / "log").read_bytes() == b"ab"
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_a_pid_alone_does_not_name_a_process() -> None:
    assert folders.start_time(os.getpid()).isdigit()
    assert folders.start_time(2**22 + 1) == ""
