"""The runtime port: one container attempt is one folder, and the folder is the truth.

Laws:

1. A folder is started at most once, ever: ``start`` on one that has ``started`` raises
   ``AlreadyStarted``. The supervisor fsyncs ``started`` before the user's command runs.
2. The container outlives whoever called ``start``: the supervisor locks the folder (flock), waits
   for the command, fsyncs ``exit``, and only then ends. ``state`` reads the folder alone, so that
   a new agent process sees what the old one would have.
3. ``exit`` beats everything. No ``exit`` and nobody who locks the folder after ``started``: LOST.
4. When a container ended or was lost, no process of it is left, whatever it forked.
5. The log has all that the command wrote, in order, to its last byte: from its first one, or from
   that of the oldest file that is left. It lies in ``log``, ``log.1``, ...: at most five files of
   10 MiB. Only a full disk leaves something out, for no container waits for one.

Folder layout, all written by the launcher's supervisor::

    started   {"pid", "start_time", "at", "spec"}    exit   {"code", "signal", "oom", "at", ...}
    log, log.N   stdout and stderr, as written       termination   its message, if any

``spec.json``, what to run, lies in the private folder of ContainerSpec, or here if there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from bessemer.base.errors import BessemerError
from bessemer.kinds.poddefaults import TERMINATION_LOG


class RuntimeFailure(BessemerError):
    """The runtime could not do it; the text says why."""


class AlreadyStarted(RuntimeFailure):
    """The folder was started before; it never is a second time."""


@dataclass(frozen=True)
class Mount:
    """A file or folder of the machine at a path in the container.

    Attributes:
        below: where in the source it lies, if others may change the source: what this path
            means is found out when it is mounted, and never leads out of the source.
    """

    source: Path
    target: str
    read_only: bool = True
    below: str = ""


@dataclass(frozen=True)
class WarmProgram:
    """A Python program that a warm zygote may run in a fork instead of starting a new Python.

    Source of the shape: kfp.dsl.executor_main, started as the KFP compiler writes it.
    """

    source: str  # the module's text
    arguments: tuple[str, ...]  # what followed it: --executor_input ... --function_to_execute f


@dataclass(frozen=True)
class Limits:
    """What a container may use; None: as much as there is."""

    memory: int | None = None  # bytes
    cpu: float | None = None  # cores
    processes: int | None = None


@dataclass(frozen=True)
class Network:
    """What of the machine's loopback network is a pod's.

    Attributes:
        address: its own.
        localhost: what it has in the place of 127.0.0.1, and ``localhost6`` of ::1.
        reserved: the platform's ports, which it can't have at its localhost.
    """

    address: str
    localhost: str
    localhost6: str
    reserved: tuple[int, ...] = ()


@dataclass(frozen=True)
class ContainerSpec:
    """One attempt of one container, fully resolved: nothing left to look up."""

    folder: Path
    argv: tuple[str, ...]
    env: Mapping[str, str]
    working_dir: str = ""  # empty: the container's HOME
    environment: Path | None = None  # a virtual environment; its bin/ comes first in PATH
    rootfs: Path | None = None  # an unpacked image; None: the machine's /usr, read-only
    mounts: tuple[Mount, ...] = ()
    read_only: bool = False  # its root, /tmp and HOME; mounts say so themselves
    hosts: Mapping[str, str] = field(default_factory=dict)  # name -> address, for /etc/hosts
    hostname: str = "localhost"
    limits: Limits = Limits()
    warm: WarmProgram | None = None  # run this in a zygote of `environment`, if that is possible
    termination_path: str = TERMINATION_LOG
    network: Network | None = None  # None: its sockets may be anywhere on the machine
    namespace: str = ""  # whose pod it is; no zygote serves two
    private: Path | None = None  # a folder of its own in memory: the variables may be Secrets


class ContainerState(StrEnum):
    """Where an attempt is in its life."""

    CREATED = "Created"  # a folder, nothing started
    RUNNING = "Running"  # the supervisor lives
    EXITED = "Exited"  # it ended and we know how
    LOST = "Lost"  # it ended and nobody saw how


@dataclass(frozen=True)
class Observation:
    """What an attempt's folder tells of it."""

    state: ContainerState
    pid: int = 0  # of the supervisor's child on this machine, 0 when unknown
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int = 0  # 128+signal when a signal ended it
    signal: int = 0
    oom_killed: bool = False
    start_error: str = ""  # the command could not be run: "exec: nosuch: not found"
    message: str = ""  # what it wrote to its termination path


@dataclass(frozen=True)
class ExecResult:
    """A command that ran beside a container, in the same namespaces."""

    code: int
    output: bytes  # stdout and stderr


class Runtime(Protocol):
    """Starts, watches and ends container attempts."""

    name: str  # "sandbox" or "process"

    def lay_out(self, folder: Path) -> None:
        """Make ahead, in an attempt's folder, the files that a start would make."""
        ...

    async def start(self, spec: ContainerSpec) -> None:
        """Write the folder and start it. Returns when ``started`` or ``exit`` is on disk.

        Raises:
            AlreadyStarted: the folder was started before.
            RuntimeFailure: the supervisor could not be started at all.
        """
        ...

    def observe(self, folder: Path) -> Observation:
        """The attempt's state, from its folder."""
        ...

    async def wait(self, folder: Path) -> Observation:
        """Wait until it is EXITED or LOST (adopted ones too), without polling where possible."""
        ...

    async def signal(self, folder: Path, signum: int) -> None:
        """Send a signal: SIGTERM to the command, SIGKILL to all of the container's processes."""
        ...

    async def execute(self, folder: Path, argv: tuple[str, ...], timeout: float) -> ExecResult:
        """Run a command in the running container's namespaces; code 124 after the timeout."""
        ...

    def remove(self, folder: Path) -> None:
        """Delete the folder of an attempt that ended."""
        ...

    async def close(self) -> None:
        """Let go of zygotes; running containers stay."""
        ...

    def unheld(self, limits: Limits) -> list[str]:
        """Which of these limits this machine can't hold, each with the reason, for a condition."""
        ...
