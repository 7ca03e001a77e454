"""A PostgreSQL of the tests' own, where the machine has one: a process, and a folder with all."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

_USER = "tester"
# Nothing of it outlives the tests, so nothing has to reach a disk.
_SETTINGS = ("fsync=off", "full_page_writes=off", "shared_buffers=16MB", "max_connections=60")
_START_SECONDS = 60


@dataclass
class Server:
    """A running one."""

    folder: Path
    process: subprocess.Popen[bytes]
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def create(self) -> str:
        """The URL of a new, empty database."""
        name = f"test_{next(self._numbers)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")  # no user's text
        return f"postgresql://{_USER}@/{name}?host={self.folder}"

    def connect(self, name: str = "postgres") -> psycopg.Connection[Any]:
        """A connection of the tests, past Bessemer's."""
        return psycopg.connect(host=str(self.folder), user=_USER, dbname=name, autocommit=True)

    def restart(self) -> None:
        """As a server does that is updated: connections are cut."""
        self.end()
        self.process = _start(self.folder)
        self.wait()

    def wait(self) -> None:
        for _ in range(_START_SECONDS * 10):
            with contextlib.suppress(psycopg.OperationalError), self.connect():
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self.process.wait(0.1)
                log = (self.folder / "log").read_text()
                raise AssertionError(f"PostgreSQL ended with {code}:\n{log}")
        raise AssertionError("PostgreSQL takes no connections")

    def end(self) -> None:
        self.process.send_signal(signal.SIGINT)  # a fast shutdown
        self.process.wait(30)


def _programs() -> Path | None:
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "initdb").exists()), None)


def _as_somebody() -> dict[str, Any]:
    """It refuses to run as root, so root gives it away."""
    if os.getuid():
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            found = pwd.getpwnam(name)
            return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    pytest.skip("PostgreSQL does not run as root, and there is no user 'postgres' or 'nobody'")


def _start(folder: Path) -> subprocess.Popen[bytes]:
    programs = _programs()
    assert programs is not None
    options = [word for setting in _SETTINGS for word in ("-c", setting)]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [programs / "postgres", "-D", folder / "data", "-k", folder, "-h", "", *options],
            cwd=folder,
            stdout=log,
            stderr=log,
            **_as_somebody(),
        )


@contextmanager
def running() -> Iterator[Server]:
    """A server, or a skipped test with the reason why there is none."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL's programs are not on this machine (initdb, postgres)")
    somebody = _as_somebody()
    # Below the tests' own folder only root could reach its socket; and a socket's path is short.
    folder = Path(tempfile.mkdtemp(prefix="bessemer-postgresql-"))
    try:
        if somebody:
            os.chown(folder, somebody["user"], somebody["group"])
        subprocess.run(
            [programs / "initdb", "-D", folder / "data", "-U", _USER, "-A", "trust",
             "-E", "UTF8", "--locale=C", "--no-sync"],
            cwd=folder, check=True, capture_output=True, **somebody,
        )  # fmt: skip
        server = Server(folder, _start(folder))
        try:
            server.wait()
            yield server
        finally:
            server.end()
    finally:
        shutil.rmtree(folder)
