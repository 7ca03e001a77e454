"""The records in an attempt's folder, read as what they are: files that may be damaged.

A crash of the machine can empty one, a failing disk can leave anything in it. What has not the
shape that the launcher writes is no record: who holds the folder's lock then tells the rest.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bessemer.base.clock import parse_time

_MOST_BYTES = 64 * 1024
_MOST_PID = 2**31 - 1
_LOCKS = Path("/proc/locks")


def read_started(folder: Path) -> dict[str, Any]:
    """What the supervisor wrote before the command ran; empty when there is no such record."""
    record = _read(folder / "started")
    supervisor = record.get("supervisor")
    is_whole = (
        _is_process(record)
        and isinstance(supervisor, dict)
        and _is_process(supervisor)
        and isinstance(record.get("spec"), str)
        and _is_time(record.get("at"))
    )
    return record if is_whole else {}


def read_exit(folder: Path) -> dict[str, Any]:
    """What the supervisor wrote when the command had ended; empty when there is no such record."""
    record = _read(folder / "exit")
    is_whole = (
        _is_number(record.get("code"), 255)
        and _is_number(record.get("signal"), 255)
        and isinstance(record.get("oom", False), bool)
        and isinstance(record.get("start_error", ""), str)
        and _is_time(record.get("at"))
    )
    return record if is_whole else {}


def read_spec(started: Mapping[str, Any]) -> dict[str, Any]:
    """What the container was started with; empty when that is not there."""
    return _read(Path(started["spec"]), 2**30) if started else {}


def read_text(path: Path, most: int) -> str:
    """The start of a file that a pod may have written, or have made anything else of."""
    return _read_bytes(path, most).decode(errors="replace")


def holder(folder: Path) -> int:
    """The pid of whoever holds the folder's lock: its supervisor; 0 if that can't be told."""
    try:
        found = os.stat(folder)
        locks = _LOCKS.read_text()
    except OSError:
        return 0
    device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for line in locks.splitlines():
        words = line.split()
        if len(words) > 5 and words[1] == "FLOCK" and words[3] == "WRITE" and words[5] == device:
            return int(words[4])
    return 0


def _read(path: Path, most: int = _MOST_BYTES) -> dict[str, Any]:
    try:
        record = json.loads(_read_bytes(path, most))
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _read_bytes(path: Path, most: int) -> bytes:
    """Of a file, and nothing else: opening a pipe would wait for who writes to it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        return os.read(descriptor, most) if is_file else b""
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _is_process(record: Mapping[str, Any]) -> bool:
    pid = record.get("pid")
    return _is_number(pid, _MOST_PID) and pid != 0 and isinstance(record.get("start_time"), str)


def _is_number(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _is_time(value: object) -> bool:
    try:
        return isinstance(value, str) and parse_time(value) is not None
    except ValueError:
        return False
