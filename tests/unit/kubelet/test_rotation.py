"""A log that lies in several files reads as one text, whichever part is asked for."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.cluster.kubelet.runtime import rotation
from bessemer.cluster.kubelet.runtime.rotation import RotatedLog

TEXT = st.lists(st.text("ab\n", max_size=6).map(str.encode), min_size=1, max_size=5)


def write(folder: Path, parts: list[bytes], first: int = 0) -> None:
    for number, part in enumerate(parts, first):
        (folder / (f"log.{number}" if number else "log")).write_bytes(part)


def read(folder: Path, since: datetime | None = None, lines: int | None = None) -> bytes:
    log = RotatedLog(folder)
    if since or lines is not None:
        log.skip(since, lines)
    read = b"".join(iter(log.read, b""))
    log.close()
    return read


@given(TEXT, st.integers(0, 12))
def test_the_last_lines_are_those_of_the_whole_text(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], lines: int
) -> None:
    folder = tmp_path_factory.mktemp("log")
    write(folder, parts)
    whole = b"".join(parts)

    wanted = whole.splitlines(keepends=True)
    assert read(folder) == whole
    assert read(folder, lines=lines) == b"".join(wanted[max(len(wanted) - lines, 0) :])


def test_files_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    write(tmp_path, [b"8", b"9", b"10", b"11"], first=8)

    assert read(tmp_path) == b"891011"
    assert rotation.last_bytes(tmp_path, 3) == b"011"


def test_what_else_lies_there_is_no_part_of_it(tmp_path: Path) -> None:
    write(tmp_path, [b"a"])
    (tmp_path / "log.1").mkdir()
    (tmp_path / "log.2").symlink_to(tmp_path / "log")
    for name in ("log.x", "log.²", "log.-1", "log.", "logs", "log.1.2"):
        (tmp_path / name).write_bytes(b"no")

    assert read(tmp_path) == b"a"


def test_a_file_that_was_not_written_to_since_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, [b"old\n", b"new\n", b"newer\n"])
    os.utime(tmp_path / "log", (1000, 1000))
    since = datetime.fromtimestamp(2000, UTC)

    assert read(tmp_path, since) == b"new\nnewer\n"
    assert read(tmp_path, since, lines=9) == b"new\nnewer\n"
    assert read(tmp_path, since, lines=1) == b"newer\n"
    assert read(tmp_path, datetime.fromtimestamp(2**33, UTC), lines=9) == b""


def test_a_reader_goes_on_where_the_writer_does(tmp_path: Path) -> None:
    write(tmp_path, [b"one "])
    log = RotatedLog(tmp_path)
    assert (log.read(), log.read()) == (b"one ", b"")

    with (tmp_path / "log").open("ab") as file:
        file.write(b"two ")
    write(tmp_path, [b"three ", b"four "], first=1)
    (tmp_path / "log").unlink()  # it is open all the same

    assert [log.read() for _ in range(4)] == [b"two ", b"three ", b"four ", b""]
    (tmp_path / "log.2").unlink()
    write(tmp_path, [b"nine"], first=9)
    assert (log.read(), log.read()) == (b"nine", b"")
    log.close()
