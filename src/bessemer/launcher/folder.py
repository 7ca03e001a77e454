"""What is written in the folder of one container attempt, and how it becomes durable."""

from __future__ import annotations

import fcntl
import json
import os
from datetime import datetime, timezone
from typing import Any, Dict

Record = Dict[str, Any]


def now() -> str:
    """The wall time as metav1.MicroTime."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def start_time(pid: int) -> str:
    """When the process started, in the kernel's words: with the pid it names a process forever.

    Empty where there is no /proc: there a pid alone must do.
    """
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            text = file.read()
    except OSError:
        return ""
    return text.rpartition(b")")[2].split()[19].decode()


class Folder:
    """The folder of one attempt; held open, so that it is the same one whatever is renamed."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        self._lock = -1

    def lock(self) -> bool:
        """Hold the lock until this process ends; False if another one holds it."""
        self._lock = self._open("lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def release(self) -> None:
        """In a forked child: let go of what only the supervisor holds."""
        os.close(self._lock)
        os.close(self._directory)

    def was_started(self) -> bool:
        """Whether somebody ran, or tried to run, this attempt before."""
        names = os.listdir(self._directory)
        return "started" in names or "exit" in names

    def is_deleted(self) -> bool:
        """Whether the folder is gone, so that nobody will ever ask for this attempt again."""
        return os.fstat(self._directory).st_nlink == 0

    def read_spec(self) -> Record:
        """What to run."""
        with open(self.open_spec(), "rb") as file:
            spec: Record = json.loads(file.read())
        return spec

    def open_spec(self) -> int:
        """A descriptor to read spec.json from."""
        return self._open("spec.json", os.O_RDONLY)

    def open_log(self) -> int:
        """A descriptor that appends to the log."""
        return self._open("log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, name: str, record: Record) -> None:
        """Write a record whole or not at all; on disk when this returns.

        Both syncs come after the rename, so that they share one commit of the file system. A
        machine that crashes between can leave an empty file, which readers take for no record.
        """
        fresh = self._open(name + ".tmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            os.write(fresh, json.dumps(record).encode())
            here = self._directory
            os.rename(name + ".tmp", name, src_dir_fd=here, dst_dir_fd=here)
            os.fsync(fresh)
            os.fsync(here)
        finally:
            os.close(fresh)

    def _open(self, name: str, flags: int) -> int:
        return os.open(name, flags | os.O_CLOEXEC, 0o600, dir_fd=self._directory)
