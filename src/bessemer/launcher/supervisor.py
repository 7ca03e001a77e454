"""Owns one attempt from its first file to its last, and outlives whoever asked for it.

A process of the machine's own namespaces (but for the user namespace, which it makes), in a
session of its own. When it dies, the kernel kills the init and with it the whole container.
What is said on the lines from the container is a user's word: anything but a plain end is taken
for a broken container, which is ended as by SIGKILL.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from typing import Any, Dict, List, Optional

from bessemer.launcher import command, init, limits, linux, processes, protocol, sockets, tenants
from bessemer.launcher.folder import Folder, Record, now, start_time
from bessemer.launcher.protocol import Closed, Line

#: How long a warm zygote may take to answer before the command is started cold, in seconds.
_WARM_PATIENCE = 20.0
#: How long a program may run within its warm zygote's limits, in seconds.
_GUEST = 0.02
#: How often a supervisor looks whether its folder is still there, in seconds.
_CARE = 3.0
_PIECE = 1 << 16
#: How long the init may take to build the root, in seconds.
_SETUP_PATIENCE = 120.0
#: How long the end of all processes may take, and how long if a zygote's forks stand in its way.
_END_PATIENCE, _LAST_PATIENCE = 5.0, 15.0
_LONGEST_REASON = 4096
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
        self._poll = select.poll()
        self._sockets = sockets.Sockets(self._spec, self._poll)
        self._init = 0
        self._middle = 0  # whose sibling the init is, where it begins beneath another namespace
        self._line: Optional[Line] = None  # to the init
        self._warm: Optional[Line] = None  # to the warm zygote's fork, if it runs the program
        self._warm_pid = 0
        self._tenancy: Optional[Line] = None  # to the zygote's keeper, who answers for its forks
        self._keeper = 0  # PID 1 of the zygote's pid namespace, once we are to make children there
        # Held until the end is told: the kernel takes its time to undo the mounts, and commands
        # beside the container come in by these.
        self._namespaces: Dict[str, int] = {}

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
            if self._middle:
                os.waitpid(self._middle, 0)
                self._middle = 0
            # While the init builds the root, the disk takes the record of this start.
            self._record_start()
            if zygote is not None and self._welcome(zygote):
                self._warm = zygote
            self._hear_ready()
            self._say_go()
        except _NotStartedError as error:
            return _failure(command.NOT_STARTED, str(error))
        except Closed:
            return _failure(command.NOT_STARTED, "the container's init ended before its command")
        except OSError as error:
            return _failure(command.NOT_STARTED, "the container could not be set up: %s" % error)
        os.close(self._writer)  # the container has it now, and its end is the end of the output
        _say(asker, "started")
        return None

    def _leave_zygotes_limits(self) -> None:
        """Take a program without limits of its own out of its zygote's, and what it has started.

        The kernel may take some milliseconds to let a process leave, in which nobody hears the
        program's end: for one that has ended by then it is not done at all.
        """
        group = limits.Cgroup(self._spec["cgroups"]["programs"], 0)
        with contextlib.suppress(OSError):  # it has ended
            group.add(self._warm_pid)
            for pid in processes.descendants(self._warm_pid):
                group.add(pid)

    def _fork_init(self) -> None:
        is_inside = self._keeper != 0
        if self._spec["sandbox"]:
            uid, gid = os.getuid(), os.getgid()
            kinds = linux.CLONE_NEWUSER | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS
            linux.unshare(kinds if is_inside else kinds | linux.CLONE_NEWPID)
            linux.map_owner(uid, gid)
            linux.set_dumpable(dumpable=False)
        elif sys.platform == "linux":
            linux.become_subreaper()
        self._line, other = protocol.pair()
        # A line of its own: the init's first word may be quicker than its namespace.
        born, parent = protocol.pair()
        child = os.fork()
        if child == 0:
            if is_inside:  # beneath the zygote's pid namespace, but still a child of ours
                linux.unshare(linux.CLONE_NEWPID)
                if linux.fork_sibling():
                    parent.send({"pid": True}, (linux.open_namespace_of_children(),))
                    os._exit(0)
            self._be_init(other)
        other.connection.close()
        parent.connection.close()
        if self._spec["sandbox"]:
            linux.set_dumpable(dumpable=True)  # nobody inside sees this process
            self._namespaces = {name: linux.open_namespace(None, name) for name in init.SHARED}
        if is_inside:
            (self._namespaces["pid"],) = born.receive_with_descriptors(_SETUP_PATIENCE)[1]
            self._middle = child  # reaped later: it takes its time to go
            (self._init,) = (pid for pid in processes.children(os.getpid()) if pid != child)
        else:
            self._init = child
            if self._spec["sandbox"]:
                self._namespaces["pid"] = linux.open_namespace_of_children()
        born.connection.close()

    def _be_init(self, line: Line) -> None:
        for number in command.FORWARDED:
            signal.signal(number, signal.SIG_IGN)
        try:
            init.run(self._spec, line, self._writer)
        finally:
            os._exit(1)

    def _hear_ready(self) -> None:
        """Wait until the root is built; the init's last namespaces, and its calls, come along."""
        message, descriptors = self._the_line().receive_with_descriptors(_SETUP_PATIENCE)
        if "failed" in message:
            raise _NotStartedError(str(message["failed"])[:_LONGEST_REASON])
        names = message["ready"]
        self._namespaces.update(zip(names, descriptors))  # noqa: B905 -- 3.8
        self._sockets.watch(descriptors[len(names) :])

    def _record_start(self) -> None:
        record = {"pid": self._init, "start_time": start_time(self._init), "at": now()}
        record["supervisor"] = {"pid": os.getpid(), "start_time": start_time(os.getpid())}
        record["spec"] = self._folder.spec
        self._folder.write("started", record)

    def _say_go(self) -> None:
        """The root is built: let the program run, warm or cold."""
        if self._warm is not None:
            try:
                self._warm.send({"go": True}, (self._namespaces["mnt"],))
            except Closed:
                self._warm, self._warm_pid = None, 0
        self._the_line().send({"go": self._warm is None})

    def _the_line(self) -> Line:
        if self._line is None:
            raise Closed
        return self._line

    # The warm way

    def _reach_warm(self) -> Optional[Line]:
        """A line to a fork of the warm zygote, in whose namespaces our children now begin."""
        if not self._spec["warm"] or not self._spec["sandbox"]:
            return None
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_WARM_PATIENCE)
        line = Line(connection)
        line.ask_for_sender()
        try:
            connection.connect(self._spec["warm"]["socket"])
            connection.settimeout(None)
            size = _PEER.size
            peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
            keeper = _PEER.unpack(peer)[0]
            namespaces = {name: linux.open_namespace(keeper, name) for name in ("user", "pid")}
            for name, descriptor in namespaces.items():
                linux.enter_namespace(descriptor, name)
        except OSError:
            connection.close()
            return None
        self._keeper = keeper
        return line

    def _invite(self, zygote: Line) -> None:
        """Have the zygote's fork come in, as far as it can before the root is built."""
        job = os.memfd_create("job")
        try:
            names = ("env", "cwd", "makes_cwd", "warm")
            with open(job, "wb", closefd=False) as file:
                file.write(json.dumps({name: self._spec[name] for name in names}).encode())
            os.lseek(job, 0, os.SEEK_SET)
            namespaces = [self._namespaces[name] for name in init.EARLY]
            self._register()
            with contextlib.suppress(Closed):  # _welcome finds that too
                zygote.send({"namespaces": init.EARLY}, (job, self._writer, *namespaces))
        finally:
            os.close(job)

    def _register(self) -> None:
        if not self._spec["warm"]["guarded"]:
            return
        place, record = self._spec["warm"]["socket"], self._spec["sockets"]
        with contextlib.suppress(OSError, Closed):  # _welcome finds that too
            self._tenancy = tenants.register(place, record, self._namespaces["pid"])

    def _welcome(self, zygote: Line) -> bool:
        """Have the zygote's program held to the container's limits; False: it can't be run."""
        try:
            zygote.receive(_WARM_PATIENCE)
        except Closed:
            return False
        pid = zygote.sender
        if not self._is_inside(pid) or not self._is_registered():
            return False
        self._cgroup.add(pid)
        self._warm_pid = pid
        return True

    def _is_registered(self) -> bool:
        if not self._spec["warm"]["guarded"]:
            return True
        return self._tenancy is not None and tenants.confirm(self._tenancy)

    def _is_inside(self, pid: int) -> bool:
        """Whether the process is in the container's pid namespace."""
        inside = os.fstat(self._namespaces["pid"])
        try:
            return os.path.samestat(os.stat("/proc/%d/ns/pid" % pid), inside)
        except OSError:
            return False

    # Running

    def _wait(self) -> Record:
        """Wait for the command's end: how it ended, by SIGKILL when it was cut off."""
        ways: Dict[int, Line] = {}
        self._poll.register(self._output, select.POLLIN)
        for line in (self._line, self._warm):
            if line is not None:
                ways[line.fileno()] = line
                self._poll.register(line.fileno(), select.POLLIN)
        pause = _CARE if self._watcher is None else limits.WATCH_EVERY
        leaves_at = time.monotonic() + _GUEST if self._warm_pid else None
        while True:
            if leaves_at is not None and time.monotonic() >= leaves_at:
                leaves_at = None
                self._leave_zygotes_limits()
            timeout = pause if leaves_at is None else _GUEST
            for descriptor, event in self._poll.poll(timeout * 1000):
                ending = self._take(descriptor, event, ways)
                if ending is not None:
                    return ending
            if self._must_end():
                return _ending(signal.SIGKILL)

    def _take(self, descriptor: int, event: int, ways: Dict[int, Line]) -> Optional[Record]:
        """Do what a descriptor asks for; the command's end if it tells of that."""
        if self._sockets.take(descriptor, event):
            return None
        if descriptor == self._output:
            if not self._copy():
                self._poll.unregister(self._output)
            return None
        return _hear_end(ways[descriptor])

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
        self._sockets.close()
        if not self._init and self._keeper:  # it was made, but never said so
            made = [pid for pid in processes.children(os.getpid()) if pid != self._middle]
            self._init = (made or [0])[0]
        if not self._init:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._init, signal.SIGKILL)
        self._reap_init()
        if not self._spec["sandbox"]:
            processes.end_descendants(os.getpid())

    def _reap_init(self) -> None:
        """In a pid namespace this waits for all that was in it.

        They are dead by now, but one whose parent is outside, in a zygote, counts until that
        parent took note of it: then the zygote has to go.
        """
        if not self._keeper:
            os.waitpid(self._init, 0)
            return
        end = os.pidfd_open(self._init)
        poll = select.poll()
        poll.register(end, select.POLLIN)
        if not poll.poll(_END_PATIENCE * 1000):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._keeper, signal.SIGTERM)
            poll.poll(_LAST_PATIENCE * 1000)
        os.close(end)
        os.waitpid(self._init, os.WNOHANG)

    def _catch_signals(self) -> None:
        for number in command.FORWARDED:
            signal.signal(number, self._forward)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def _forward(self, number: int, _frame: Any) -> None:
        target = self._warm_pid or self._init
        if target:
            with contextlib.suppress(ProcessLookupError):
                os.kill(target, number)


class _NotStartedError(Exception):
    """The init says why it could not set the container up."""


def _hear_end(line: Line) -> Optional[Record]:
    """How the command ended, if the line says so; None: it says nothing whole yet."""
    try:
        message = line.receive_ready()
    except Closed:
        return _ending(signal.SIGKILL)
    if message is None:
        return None
    code, reason, status = (message.get(name) for name in ("code", "failed", "ended"))
    if isinstance(reason, str) and isinstance(code, int) and 0 <= code <= _LAST_CODE:
        return _failure(code, reason[:_LONGEST_REASON])
    if isinstance(status, int) and 0 <= status <= _LAST_STATUS and _is_end(status):
        return _ending(status)
    return _ending(signal.SIGKILL)


_LAST_CODE, _LAST_STATUS, _LAST_SIGNAL = 0xFF, 0xFFFF, 64


def _is_end(status: int) -> bool:
    if os.WIFEXITED(status):
        return True
    return status >> 8 == 0 and os.WIFSIGNALED(status) and os.WTERMSIG(status) <= _LAST_SIGNAL


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
