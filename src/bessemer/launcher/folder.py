"""What is written in the folder of one container attempt, and how it becomes durable."""

from __future__ import annotations

import fcntl
import json
import os
from datetime import datetime, timezone
from typing import Any, Callable, Dict

from bessemer.launcher.log import Log

Record = Dict[str, Any]
#: What a record's file is called until it is whole.
DRAFT = ".tmp"
#: Of a usual record, in bytes.
_ROOM = 512


def now() -> str:
    """The wall time as metav1.MicroTime."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _nobody() -> None:
    pass


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

    def __init__(self, path: str, spec: str) -> None:
        self.path = path
        self.spec = spec
        self._reserved: Dict[str, int] = {}
        self._directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def lock(self) -> bool:
        """Lock the folder until this process ends; False if another one holds it."""
        try:
            fcntl.flock(self._directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def was_started(self) -> bool:
        """Whether somebody ran, or tried to run, this attempt before."""
        names = os.listdir(self._directory)
        return "started" in names or "exit" in names

    def is_deleted(self) -> bool:
        """Whether the folder is gone, so that nobody will ever ask for this attempt again."""
        return os.fstat(self._directory).st_nlink == 0

    def read_spec(self) -> Record:
        """The spec in an attempt's folder: what to run, and how."""
        with open(self.spec, "rb") as file:
            spec: Record = json.loads(file.read())
        return spec

    def open_log(self) -> Log:
        """The log, to write to."""
        return Log(self._directory)

    def write(self, name: str, record: Record, heard: Callable[[], None] = _nobody) -> None:
        """Write a record whole or not at all; on disk when this returns.

        Both syncs come after the rename, so that they share one commit of the file system. A
        machine that crashes between can leave an empty file, which readers take for no record.
        ``heard`` is called as soon as nothing less than that can take the record away.
        """
        data = json.dumps(record).encode()
        fresh = self._reserved.pop(name, -1)
        if fresh < 0:
            fresh = self._open(name + DRAFT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        else:
            data = data.ljust(_ROOM)  # over what reserved it; JSON may end in spaces
        try:
            os.pwrite(fresh, data, 0)
            here = self._directory
            os.rename(name + DRAFT, name, src_dir_fd=here, dst_dir_fd=here)
            heard()
            os.fsync(fresh)
            os.fsync(here)
        finally:
            os.close(fresh)

    def reserve(self, name: str) -> None:
        """Take the room that a record will need: the disk may be full by then."""
        fresh = self._open(name + DRAFT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            os.write(fresh, b" " * _ROOM)
        except OSError:  # it is full already
            os.close(fresh)
        else:
            self._reserved[name] = fresh

    def _open(self, name: str, flags: int) -> int:
        return os.open(name, flags | os.O_CLOEXEC, 0o600, dir_fd=self._directory)
