"""The writer of a container's log: bounded files, whole lines, and no wait for a full disk."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bessemer.launcher import log as logs
from bessemer.launcher.log import FILE_BYTES, FILES, Log

PIECE = 1 << 16


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    directory = os.open(tmp_path, os.O_RDONLY)
    opened = Log(directory)
    yield opened
    opened.close()
    os.close(directory)


def sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.iterdir()}


def test_the_newest_files_are_kept_and_none_is_larger_than_it_may(
    tmp_path: Path, log: Log
) -> None:
    line = b"x" * 999 + b"\n"
    for _ in range(9 * FILE_BYTES // PIECE):
        log.write(line * 65)

    kept = sizes(tmp_path)
    assert len(kept) == FILES
    assert max(kept.values()) <= FILE_BYTES
    assert sorted(int(name.partition(".")[2]) for name in kept)[-1] >= FILES
    assert all(path.read_bytes().endswith(b"\n") for path in tmp_path.iterdir())


def test_a_line_without_an_end_is_cut(tmp_path: Path, log: Log) -> None:
    for _ in range(2 * FILE_BYTES // PIECE + 1):
        log.write(b"x" * PIECE)

    assert max(sizes(tmp_path).values()) <= FILE_BYTES + PIECE
    assert sum(sizes(tmp_path).values()) == 2 * FILE_BYTES + PIECE


def test_a_log_that_is_there_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"before\n")
    directory = os.open(tmp_path, os.O_RDONLY)
    log = Log(directory)
    log.write(b"after\n")
    log.close()
    os.close(directory)

    assert (tmp_path / "log").read_bytes() == b"before\nafter\n"


def test_what_has_no_room_is_lost_and_nothing_waits(tmp_path: Path, log: Log) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        log.write(b"a" * 900)
        log.write(b"b" * 900)
        log.write(b"c" * 900)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    log.write(b"d\n")

    assert (tmp_path / "log").read_bytes() == b"a" * 900 + b"b" * 100 + b"d\n"


def test_names_begin_with_the_one_that_readers_know() -> None:
    assert [logs.name(number) for number in (0, 1, 12)] == ["log", "log.1", "log.12"]
