"""The zygotes as the runtime sees them: started when needed, asked over their sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import uuid
from asyncio.subprocess import DEVNULL, Process
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bessemer
from bessemer.base import logs
from bessemer.base.ids import hash_name
from bessemer.cluster.kubelet.runtime import layout
from bessemer.cluster.kubelet.runtime.base import Limits, RuntimeFailure
from bessemer.cluster.kubelet.runtime.cgroups import Cgroups

_log = logs.get(__name__)

#: The folder to import the launcher's package from.
_SOURCES = Path(bessemer.__file__).parent.parent
_RUN = "import sys; sys.path.append(sys.argv[1]); from bessemer.launcher.{0} import main; main()"
_RUN_ZYGOTE = (
    "import sys; root = sys.argv.pop(1); sys.path.append(root); "
    "from bessemer.launcher.zygote import main; sys.path.remove(root); main()"
)
#: How long a base zygote without a control plane waits for a new request, in seconds.
_BASE_IDLE = 10.0
#: A socket's path has room for 108 bytes on Linux, 104 on macOS; ours need some for their names.
_LONGEST_FOLDER = 70
#: What a warm zygote may use, with its forks that wait for programs: an executor takes some
#: 100 MiB, a fork 2. A process count also ends a bomb that a package brings.
_WARM_LIMITS = Limits(memory=1 << 30, processes=1000)
#: How many there may be at once; each namespace can ask for any number of environments.
_MOST_WARM = 16
#: A warm zygote ends by itself after its idle time; one that doesn't gets this many times that.
_LENIENCE = 2.0
#: How long the end of zygotes may take, in seconds; one stays while a container needs it.
_END_PATIENCE = 0.5
#: What a warm zygote has beside that, in memory.
_WARM_FOLDERS = (layout.HOME, "/tmp")
#: How many requests may wait for the zygote's next fork.
_BACKLOG = 1024
#: The longest answer that a zygote gives: an execution's output, in base64.
_LONGEST_ANSWER = 1 << 20


@dataclass(frozen=True)
class WarmKey:
    """Whom a warm zygote serves: pods of one namespace, of one environment."""

    namespace: str
    environment: Path


@dataclass(frozen=True)
class WarmSetting:
    """How a warm zygote and the programs that are forked from it are confined.

    Attributes:
        guarded: paths below /proc that are read-only for them.
        cgroups: where their limits are set.
        is_filtered: whether the filter of system calls is on.
        is_guarded: whether the keeper decides where their sockets may listen.
    """

    guarded: tuple[str, ...]
    cgroups: Cgroups
    is_filtered: bool
    is_guarded: bool = False


@dataclass
class _Warm:
    """A warm zygote: its socket, and pidfds of it and of PID 1 in its pid namespace."""

    socket: Path
    zygote: int
    keeper: int
    guard: asyncio.TimerHandle | None = None  # ends it if it does not end itself when idle

    def use(self, idle: float) -> None:
        """Note that the zygote was asked just now, so that it is kept."""
        if self.guard is not None:
            self.guard.cancel()
        self.guard = asyncio.get_running_loop().call_later(idle * _LENIENCE, self.end)

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.keeper, signal.SIGTERM)

    def close(self) -> None:
        if self.guard is not None:
            self.guard.cancel()
        os.close(self.zygote)
        os.close(self.keeper)


class Zygotes:
    """The base zygote and the warm ones of environments, all under one folder of sockets."""

    def __init__(self, run: Path, warm_idle: float) -> None:
        self._run = run
        self._sockets = run
        self._warm_idle = warm_idle
        self._starting = asyncio.Lock()  # the base zygote
        self._warming = asyncio.Lock()  # a warm one
        self._process: Process | None = None
        self._leash: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._warm: dict[WarmKey, _Warm] = {}
        self._machine: layout.Layout | None = None

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Have a fork of the base zygote do it; its answer.

        Raises:
            RuntimeFailure: it ended without an answer.
        """
        answer, _, writer = await self.begin(request)
        writer.close()
        return answer

    async def begin(
        self, request: dict[str, Any]
    ) -> tuple[dict[str, Any], asyncio.StreamReader, asyncio.StreamWriter]:
        """Have a fork of the base zygote do it; its first answer, and where more may come from.

        Raises:
            RuntimeFailure: it ended without an answer.
        """
        reader, writer = await self._connect()
        try:
            writer.write(json.dumps(request).encode() + b"\n")
            line = await reader.readline()
        except ConnectionError:
            line = b""
        except BaseException:
            writer.close()
            raise
        if not line:
            writer.close()
            raise RuntimeFailure(
                f"the launcher's {request['do']} ended without an answer; "
                f"{self._run / 'zygote.log'} says why"
            )
        answer: dict[str, Any] = json.loads(line)
        return answer, reader, writer

    async def warm_socket(self, key: WarmKey, setting: WarmSetting) -> Path:
        """The socket of a warm zygote, which is started if it isn't there.

        Where another one is too many, the one that was asked least lately ends.
        """
        async with self._warming:
            warm = self._warm.pop(key, None)
            if warm is None or _ended(warm.zygote):
                if warm is not None:
                    warm.close()
                warm = await self._start_warm(key, setting)
            warm.use(self._warm_idle)
            self._warm[key] = warm  # the last one in order
            while len(self._warm) > _MOST_WARM:
                oldest = self._warm.pop(next(iter(self._warm)))
                oldest.end()
                oldest.close()
        return warm.socket

    async def _start_warm(self, key: WarmKey, setting: WarmSetting) -> _Warm:
        await self._ensure_base()  # its start decides where sockets lie
        name = hash_name(key.namespace, str(key.environment))
        path = self._sockets / f"warm-{name}.sock"
        setting.cgroups.make_programs()
        request = self._warm_request(key.environment, path, setting)
        answer = await self.ask(request)
        return _Warm(path, os.pidfd_open(answer["zygote"]), os.pidfd_open(answer["keeper"]))

    def machine(self) -> layout.Layout:
        """What of this machine containers and warm zygotes see."""
        if self._machine is None:
            self._run.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._machine = layout.machine(layout.prepare_etc(self._run))
        return self._machine

    def root(self) -> Path:
        """An empty folder to build roots on: each is seen in its own mount namespace alone."""
        path = self._run / "root"
        path.mkdir(parents=True, exist_ok=True)
        return path

    async def close(self) -> None:
        """End the zygotes; the containers that were forked from them run on."""
        for warm in self._warm.values():
            warm.end()
        for warm in self._warm.values():
            await asyncio.to_thread(_ended, warm.keeper, _END_PATIENCE)
            warm.close()
        self._warm.clear()
        await self._end_base()
        if self._sockets != self._run:
            shutil.rmtree(self._sockets, ignore_errors=True)
            self._sockets = self._run

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        for _ in range(2):
            path = await self._ensure_base()
            try:
                return await asyncio.open_unix_connection(str(path), limit=_LONGEST_ANSWER)
            except (ConnectionError, FileNotFoundError):
                self._drop_leash()  # it died this very moment: once more
        raise RuntimeFailure(f"no zygote answers in {self._sockets}")

    async def _ensure_base(self) -> Path:
        """The socket of the base zygote, which is started if it isn't there."""
        async with self._starting:
            if self._leash is not None and not self._leash[0].at_eof():
                return self._sockets / "zygote.sock"
            await self._end_base()
            return await self._start_base()

    async def _end_base(self) -> None:
        self._drop_leash()
        if self._process is not None:
            if self._process.returncode is None:
                self._process.terminate()
            await self._process.wait()
            self._process = None

    def _drop_leash(self) -> None:
        if self._leash is not None:
            self._leash[1].close()
            self._leash = None

    async def _start_base(self) -> Path:
        self._run.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._sockets == self._run and len(bytes(self._run)) > _LONGEST_FOLDER:
            self._sockets = Path(tempfile.mkdtemp(prefix="bessemer-"))
        path = self._sockets / "zygote.sock"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            path.chmod(0o600)
            listener.listen(_BACKLOG)
            arguments = ("-I", "-S", "-c", _RUN_ZYGOTE, str(_SOURCES), str(listener.fileno()))
            with (self._run / "zygote.log").open("ab") as errors:
                # A session of its own: Ctrl-C in the terminal is for the control plane alone.
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable, *arguments, str(_BASE_IDLE), start_new_session=True,
                    stdin=DEVNULL, stdout=DEVNULL, stderr=errors, pass_fds=(listener.fileno(),),
                    env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
                )  # fmt: skip
            reader, writer = await asyncio.open_unix_connection(str(path))
        self._leash = (reader, writer)
        writer.write(b'{"do": "leash"}\n')
        if not await reader.readline():
            raise RuntimeFailure(f"the zygote did not start; {self._run / 'zygote.log'} says why")
        _log.info("zygote started", extra=logs.fields(pid=self._process.pid))
        return path

    def _warm_request(self, environment: Path, path: Path, setting: WarmSetting) -> dict[str, Any]:
        launcher = str(_SOURCES / "bessemer" / "launcher")
        shown = self.machine()
        binds = (
            *shown.binds,
            *layout.environment(environment),
            (launcher, launcher, True),
        )
        spec = {
            "root": str(self.root()), "image": None, "folders": (*shown.folders, *_WARM_FOLDERS),
            "links": shown.links, "binds": binds, "proc_guarded": setting.guarded,
            "own_processes": False, "files": layout.users(),
        }  # fmt: skip
        python = str(environment / "bin" / "python3")  # the name that kfp's command starts
        # Never the name of one that a control plane before us made, and that is about to end.
        cgroup = f"{path.stem}-{uuid.uuid4().hex[:8]}"
        return {
            "do": "warm",
            "socket": str(path),
            "filtered": setting.is_filtered,
            "guarded": setting.is_guarded,
            "limits": limits_record(_WARM_LIMITS),
            "cgroups": {
                "version": setting.cgroups.version,
                "paths": setting.cgroups.paths(cgroup, _WARM_LIMITS),
            },
            "spec": spec,
            "argv": [python, "-c", _RUN.format("warm"), str(_SOURCES), str(self._warm_idle)],
            "env": {"PATH": layout.SEARCH_PATH, "HOME": layout.HOME},
        }


def limits_record(limits: Limits) -> dict[str, Any]:
    """The limits as the launcher reads them."""
    return {"memory": limits.memory, "cpu": limits.cpu, "processes": limits.processes}


def _ended(pidfd: int, patience: float = 0.0) -> bool:
    """Whether the process has ended, or does within this many seconds."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(patience * 1000))
