"""What both runtimes share: an attempt's folder, read and acted on; its start by the zygote."""

from __future__ import annotations

import abc
import asyncio
import base64
import contextlib
import fcntl
import json
import os
import signal as signals
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bessemer.base import trees
from bessemer.base.clock import Clock, SystemClock, parse_time
from bessemer.base.ids import hash_name
from bessemer.cluster.kubelet.runtime import records
from bessemer.cluster.kubelet.runtime.base import (
    AlreadyStarted,
    ContainerSpec,
    ContainerState,
    ExecResult,
    Observation,
    RuntimeFailure,
)
from bessemer.cluster.kubelet.runtime.cgroups import Cgroups
from bessemer.cluster.kubelet.runtime.zygotes import Zygotes

#: As the kubelet reads of a termination message, in bytes.
_LONGEST_MESSAGE = 4096
#: An attempt's own: its /tmp and its HOME.
OWN_FOLDERS = ("tmp", "home")
#: What the launcher calls a record until it is whole.
_DRAFT = ".tmp"
#: How often to look where no descriptor tells of a process's end, in seconds.
_POLL = 0.05


@dataclass(frozen=True)
class _Process:
    """A process by the two numbers that name it forever."""

    pid: int
    start_time: str

    def send(self, signum: int) -> bool:
        """Signal this very process; False when it has ended."""
        if not hasattr(os, "pidfd_open"):
            return _kill(self.pid, signum)
        pidfd = self.open()
        if pidfd is None:
            return False
        try:
            signals.pidfd_send_signal(pidfd, signum)
        except ProcessLookupError:
            return False
        finally:
            os.close(pidfd)
        return True

    def open(self) -> int | None:
        """A pidfd of it, or None when it has ended."""
        try:
            pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return None
        if _start_time(self.pid) != self.start_time:  # another one has its pid by now
            os.close(pidfd)
            return None
        return pidfd


def _kill(pid: int, signum: int) -> bool:
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        return False
    return True


def _start_time(pid: int) -> str:
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return ""
    return text.rpartition(b")")[2].split()[19].decode()


class LaunchedRuntime(abc.ABC):
    """A runtime whose containers are forked from the zygote; subclasses say into what."""

    name = ""
    #: What ends an init and all of its container, without a supervisor: PID 1 takes all along.
    last_signal: int = signals.SIGKILL

    def __init__(self, zygotes: Zygotes, cgroups: Cgroups, clock: Clock | None = None) -> None:
        self._zygotes = zygotes
        self._cgroups = cgroups
        self._clock = clock or SystemClock()
        # Of those that this agent started: done when the supervisor told of the end, or is gone.
        self._ends: dict[Path, asyncio.Task[None]] = {}

    @abc.abstractmethod
    async def plan(self, spec: ContainerSpec) -> dict[str, Any]:
        """What the launcher's spec.json says for this container."""

    def lay_out(self, folder: Path) -> None:
        """As the port says."""
        for name in OWN_FOLDERS:
            (folder / name).mkdir(exist_ok=True)
        for name in ("termination", "log"):
            (folder / name).touch()
        for name in ("started", "exit"):
            (folder / f"{name}{_DRAFT}").touch()

    async def start(self, spec: ContainerSpec) -> None:
        """As the port says."""
        spec.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if (spec.folder / "started").exists() or (spec.folder / "exit").exists():
            raise AlreadyStarted(_STARTED.format(spec.folder))
        file = (spec.private or spec.folder) / "spec.json"
        _write_private(file, json.dumps(await self.plan(spec)))
        request = {"do": "start", "folder": str(spec.folder), "spec": str(file)}
        answer, reader, writer = await self._zygotes.begin(request)
        if "error" in answer:
            writer.close()
            raise AlreadyStarted(_STARTED.format(spec.folder))
        self._ends[spec.folder] = end = asyncio.create_task(_hear_end(reader))

        def forget(_: object) -> None:
            self._ends.pop(spec.folder, None)
            writer.close()

        end.add_done_callback(forget)

    def observe(self, folder: Path) -> Observation:
        """As the port says."""
        ended = records.read_exit(folder)
        started = records.read_started(folder)
        if ended:
            return _observation(ContainerState.EXITED, started, ended, folder)
        is_held = _is_held(folder)
        if not os.path.lexists(folder / "started") and not is_held:
            return Observation(ContainerState.CREATED)
        if is_held:
            return _observation(ContainerState.RUNNING, started, {}, folder)
        if _is_held(folder):  # it has started between the two looks
            return _observation(ContainerState.RUNNING, records.read_started(folder), {}, folder)
        ended = records.read_exit(folder)  # it may have ended between the two looks
        state = ContainerState.EXITED if ended else ContainerState.LOST
        if state is ContainerState.LOST:
            self._end_lost(folder)
        return _observation(state, started, ended, folder)

    def _end_lost(self, folder: Path) -> None:
        """End what a supervisor that died may have left.

        The kernel does it as that dies, unless the container found a way to refuse the signal: so
        its init is ended by the two numbers that name it, all of its cgroup by the kernel.
        """
        init = _init(folder)
        if init is not None:
            init.send(self.last_signal)
        self._cgroups.kill(cgroup_name(folder))

    async def wait(self, folder: Path) -> Observation:
        """As the port says."""
        while True:
            seen = self.observe(folder)
            if seen.state in (ContainerState.EXITED, ContainerState.LOST):
                return seen
            if (end := self._ends.get(folder)) is not None:
                await asyncio.wait((end,))
                continue
            supervisor = _supervisor(folder)
            pidfd = supervisor.open() if supervisor and hasattr(os, "pidfd_open") else None
            if pidfd is None:
                await self._clock.sleep(_POLL)
                continue
            try:
                await _readable(pidfd)
            finally:
                os.close(pidfd)

    async def signal(self, folder: Path, signum: int) -> None:
        """As the port says."""
        target = _init(folder) if signum == signals.SIGKILL else _supervisor(folder)
        if target is not None:
            target.send(signum)

    async def execute(self, folder: Path, argv: tuple[str, ...], timeout: float) -> ExecResult:
        """As the port says."""
        started = records.read_started(folder)
        if not started or self.observe(folder).state is not ContainerState.RUNNING:
            raise RuntimeFailure(f"a command needs a running container; {folder} has none")
        spec = records.read_spec(started)
        if not spec.keys() >= _EXECUTED:
            raise RuntimeFailure(f"what {folder} was started with can't be read any more")
        request = {"do": "execute", "argv": argv, "timeout": timeout}
        request["supervisor"] = started["supervisor"]
        request["cgroups"] = spec["cgroups"]["paths"]
        request["spec"] = {key: spec.get(key) for key in _OF_EXECUTION}
        answer = await self._zygotes.ask(request)
        return ExecResult(answer["code"], base64.b64decode(answer["output"]))

    def remove(self, folder: Path) -> None:
        """As the port says."""
        if self.observe(folder).state is ContainerState.RUNNING:
            raise RuntimeFailure(
                f"only an ended container can be removed, but {folder} runs; kill it first"
            )
        trees.remove(folder)

    async def close(self) -> None:
        """As the port says."""
        ends = list(self._ends.values())
        for end in ends:
            end.cancel()
        await asyncio.gather(*ends, return_exceptions=True)
        await self._zygotes.close()


#: What of an attempt's spec a command beside it needs, and what an older spec may lack.
_EXECUTED = {"sandbox", "cwd", "env", "cgroups"}
_OF_EXECUTION = ("sandbox", "cwd", "env", "filtered", "sockets")
_STARTED = "a folder is started at most once, but {} was started before; make a new one"


def _write_private(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)


async def _hear_end(reader: asyncio.StreamReader) -> None:
    """Return when the supervisor said that its attempt has ended, or can say no more."""
    with contextlib.suppress(ConnectionError):
        await reader.readline()


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)


def cgroup_name(folder: Path) -> str:
    """What the cgroup of an attempt is called."""
    return hash_name(str(folder))


def _is_held(folder: Path) -> bool:
    """Whether a supervisor lives: it holds a lock on the folder itself."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _init(folder: Path) -> _Process | None:
    started = records.read_started(folder)
    if not started:  # with the supervisor the kernel ends all the rest
        return _supervisor(folder)
    return _Process(started["pid"], started["start_time"])


def _supervisor(folder: Path) -> _Process | None:
    started = records.read_started(folder)
    if started:
        return _Process(started["supervisor"]["pid"], started["supervisor"]["start_time"])
    pid = records.holder(folder)
    return _Process(pid, _start_time(pid)) if pid else None


def _observation(
    state: ContainerState, started: dict[str, Any], ended: dict[str, Any], folder: Path
) -> Observation:
    return Observation(
        state=state,
        pid=started.get("pid", 0),
        started_at=_moment(started),
        finished_at=_moment(ended),
        exit_code=ended.get("code", 0),
        signal=ended.get("signal", 0),
        oom_killed=bool(ended.get("oom")),
        start_error=ended.get("start_error", ""),
        message=records.read_text(folder / "termination", _LONGEST_MESSAGE) if ended else "",
    )


def _moment(record: dict[str, Any]) -> datetime | None:
    return parse_time(record["at"]) if record else None
