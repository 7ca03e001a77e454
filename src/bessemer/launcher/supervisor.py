"""Owns one attempt from its first file to its last, and outlives whoever asked for it.

A process of the machine's own namespaces (but for the user namespace, which it makes), in a
session of its own. When it dies, the kernel kills the init and with it the whole container.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import sys
from typing import Any, Dict, List, Optional

from bessemer.launcher import command, init, limits, linux, processes, protocol
from bessemer.launcher.folder import Folder, Record, now, start_time
from bessemer.launcher.protocol import Closed, Line

#: How long a warm zygote may take to answer before the command is started cold, in seconds.
_WARM_PATIENCE = 20.0
#: How often a supervisor looks whether its folder is still there, in seconds.
_CARE = 3.0
_PIECE = 1 << 16
_EARLY = [name for name in linux.NAMESPACES if name != "mnt"]
_PEER = struct.Struct("3i")


class Supervisor:
    """One attempt: prepare, run, record."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._spec = folder.read_spec()
        self._log = folder.open_log()
        # A pipe, for a file is emptied by whoever says `> /dev/stderr`.
        self._output, self._writer = os.pipe()
        self._cgroup = limits.Cgroup(
            self._spec["cgroups"]["paths"], self._spec["cgroups"]["version"]
        )
        self._watcher = limits.watcher(self._spec["limits"], list(self._spec["cgroups"]["paths"]))
        self._init = 0
        self._line: Optional[Line] = None  # to the init
        self._warm: Optional[Line] = None  # to the warm zygote's fork, if it runs the program
        self._warm_pid = 0
        # Its mounts: held until the end is told, for the kernel takes its time to undo them.
        self._mounts = -1

    def run(self, asker: Line) -> None:
        """Run the attempt to its end; the asker hears when it is on its way, and of its end."""
        self._catch_signals()
        ending = self._launch(asker)
        if ending is None:
            self._folder.reserve("exit")
            ending = self._wait()
        self._end_all()
        self._drain()
        killed = self._cgroup.out_of_memory() or bool(self._watcher and self._watcher.fired)
        ending["oom"] = killed and ending["code"] != 0
        self._cgroup.remove()
        if not self._folder.is_deleted():
            # Told before the disk has it: what the agent makes of it is durable in the store.
            self._folder.write("exit", {**ending, "at": now()}, lambda: _say(asker, "ended"))

    def _launch(self, asker: Line) -> Optional[Record]:
        """Start all; the record of what went wrong, or None."""
        try:
            zygote = self._reach_warm()
            self._cgroup.create(self._spec["limits"])
            self._fork_init()
            if zygote is not None:
                self._invite(zygote)
        except OSError as error:
            return _failure(command.NOT_STARTED, "the container could not be set up: %s" % error)
        line = self._line
        if line is None:
            return _failure(command.NOT_STARTED, "no init")
        # While the init builds the root, the disk takes the record of this start.
        record = {"pid": self._init, "start_time": start_time(self._init), "at": now()}
        record["supervisor"] = {"pid": os.getpid(), "start_time": start_time(os.getpid())}
        record["spec"] = self._folder.spec
        self._folder.write("started", record)
        try:
            message = line.receive()
            if "failed" in message:
                return _failure(command.NOT_STARTED, message["failed"])
            self._cgroup.add(self._init)
            if self._spec["sandbox"]:
                self._mounts = linux.open_namespace(self._init, "mnt")
            if zygote is None or not self._go_warm(zygote):
                line.send({"go": True})
            else:
                line.send({"go": False})
        except Closed:
            return _failure(command.NOT_STARTED, "the container's init ended before its command")
        except OSError as error:
            return _failure(command.NOT_STARTED, "the container could not be set up: %s" % error)
        os.close(self._writer)  # the container has it now, and its end is the end of the output
        _say(asker, "started")
        return None

    def _fork_init(self) -> None:
        if self._spec["sandbox"]:
            uid, gid = os.getuid(), os.getgid()
            kinds = linux.CLONE_NEWUSER | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS
            linux.unshare(kinds | linux.CLONE_NEWPID)
            linux.map_owner(uid, gid)
        elif sys.platform == "linux":
            linux.become_subreaper()
        self._line, other = protocol.pair()
        self._init = os.fork()
        if self._init == 0:
            self._folder.release()
            self._line.connection.close()
            for number in command.FORWARDED:
                signal.signal(number, signal.SIG_IGN)
            os.close(self._output)
            self._log.close()
            init.run(self._spec, other, self._writer)
        other.connection.close()

    # The warm way

    def _reach_warm(self) -> Optional[Line]:
        """A line to a fork of the warm zygote, inside whose user namespace we now are."""
        if not self._spec["warm"] or not self._spec["sandbox"]:
            return None
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_WARM_PATIENCE)
        line = Line(connection)
        try:
            connection.connect(self._spec["warm"]["socket"])
            size = _PEER.size
            peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
            namespace = os.open("/proc/%d/ns/user" % _PEER.unpack(peer)[0], os.O_RDONLY)
            linux.setns(namespace, linux.CLONE_NEWUSER)
            os.close(namespace)
        except OSError:
            connection.close()
            return None
        return line

    def _invite(self, zygote: Line) -> None:
        """Have the zygote's fork come in, as far as it can before the root is built."""
        spec = self._folder.open_spec()
        namespaces = [linux.open_namespace(self._init, name) for name in _EARLY]
        try:
            with contextlib.suppress(Closed):  # _go_warm finds that too
                zygote.send({"namespaces": _EARLY}, (spec, self._writer, *namespaces))
        finally:
            for descriptor in (spec, *namespaces):
                os.close(descriptor)

    def _go_warm(self, zygote: Line) -> bool:
        """Have the zygote's fork run the program; False: it can't, so the command starts cold."""
        try:
            pid = int(zygote.receive()["pid"])
            if not _same_namespace(pid, self._init):
                return False
            self._cgroup.add(pid)
            zygote.send({"go": True}, (self._mounts,))
            zygote.connection.settimeout(None)
        except Closed:
            return False
        self._warm, self._warm_pid = zygote, pid
        return True

    # Running

    def _wait(self) -> Record:
        """Wait for the command's end: how it ended, by SIGKILL when it was cut off."""
        ways: Dict[int, Line] = {}
        poll = select.poll()
        poll.register(self._output, select.POLLIN)
        for line in (self._line, self._warm):
            if line is not None:
                ways[line.fileno()] = line
                poll.register(line.fileno(), select.POLLIN)
        pause = _CARE if self._watcher is None else limits.WATCH_EVERY
        while True:
            for descriptor, _ in poll.poll(pause * 1000):
                if descriptor == self._output:
                    if not self._copy():
                        poll.unregister(self._output)
                    continue
                try:
                    message = ways[descriptor].receive()
                except Closed:
                    return _ending(signal.SIGKILL)
                if "failed" in message:
                    return _failure(message["code"], message["failed"])
                return _ending(message["ended"])
            if self._must_end():
                return _ending(signal.SIGKILL)

    def _must_end(self) -> bool:
        if self._watcher is not None and self._watcher.exceeded(self._roots()):
            return True
        return self._folder.is_deleted()

    def _copy(self) -> bool:
        """Move some output to the log; False at its end."""
        piece = os.read(self._output, _PIECE)
        self._log.write(piece)
        return bool(piece)

    def _drain(self) -> None:
        """Move the rest; the container has ended, so nobody writes any more."""
        os.set_blocking(self._output, False)
        with contextlib.suppress(BlockingIOError):
            while self._copy():
                pass

    def _roots(self) -> List[int]:
        return [pid for pid in (self._init, self._warm_pid) if pid]

    def _end_all(self) -> None:
        """Nothing of the container is left when this returns."""
        if not self._init:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._init, signal.SIGKILL)
        os.waitpid(self._init, 0)  # in a pid namespace this waits for all that was in it
        if not self._spec["sandbox"]:
            processes.end_descendants(os.getpid())

    def _catch_signals(self) -> None:
        for number in command.FORWARDED:
            signal.signal(number, self._forward)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def _forward(self, number: int, _frame: Any) -> None:
        target = self._warm_pid or self._init
        if target:
            with contextlib.suppress(ProcessLookupError):
                os.kill(target, number)


def _same_namespace(pid: int, other: int) -> bool:
    names = ("/proc/%d/ns/pid" % one for one in (pid, other))
    return len({os.stat(name).st_ino for name in names}) == 1


def _failure(code: int, reason: str) -> Record:
    return {"code": code, "signal": 0, "start_error": reason}


def _ending(status: int) -> Record:
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    code = 128 + number if number else os.WEXITSTATUS(status)
    return {"code": code, "signal": number, "start_error": ""}


def _say(asker: Line, word: str) -> None:
    with contextlib.suppress(Closed):  # who asked is gone; the container goes on
        asker.send({"is": word})


def rehearse() -> None:
    """Touch what a start will, in a fork that waits for one.

    A fork's first touch of each page costs a copy: these are made by the time it is needed.
    """
    one, other = protocol.pair()
    one.send({"at": now(), "start_time": start_time(os.getpid())}, (one.fileno(),))
    os.close(other.receive_with_descriptors()[1][0])
    for line in (one, other):
        line.connection.close()
    for number in command.FORWARDED:
        signal.signal(number, signal.getsignal(number))
    if sys.platform == "linux":
        linux.unshare(0)
        os.close(linux.open_namespace(os.getpid(), "user"))


def start(request: Record, asker: Line) -> None:
    """Be the supervisor of this folder; returns when all is over."""
    os.setsid()
    folder = Folder(request["folder"], request["spec"])
    if not folder.lock() or folder.was_started():
        asker.send({"error": "AlreadyStarted"})
        return
    Supervisor(folder).run(asker)
