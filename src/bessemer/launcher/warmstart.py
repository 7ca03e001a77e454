"""Turning a fork of the zygote into the warm zygote of one environment in one namespace.

The environment's packages are the user's choice, and they run here: at the interpreter's start
(``.pth``, ``sitecustomize``) and when the executor is loaded. Its forks then have to enter
containers, which takes the rights that an owner of a user namespace has in those beneath his. So
whatever runs here has these rights, and no promise of the code in here to give them up counts.
What counts is this, all of it in force before the environment's Python starts:

- The zygote is one namespace's alone: the containers that it can enter are pods of that namespace
  which asked for these very packages and run them anyway. Another namespace with the same packages
  has a zygote of its own.
- It is in a pid namespace of its own, so it sees and signals nothing of the machine. Containers'
  pid namespaces lie beneath it, for a process can enter no other one. PID 1 of it is the
  ``keeper``, which runs our code alone, ends what the zygote leaves behind, and stays while one of
  those containers runs.
- It has a user, mount, IPC, UTS and cgroup namespace, and sees the interpreter, the environment
  and the launcher, read-only. It has no capability, and no right to any.
- The filter of system calls is that of containers, but for setns and a cgroup namespace: with all
  rights in a container's user namespace it still can mount, unmount or remount nothing there, nor
  make other namespaces.
- Another filter hands the calls over by which sockets get their names, and the keeper answers them
  for each container as its supervisor told it to (``tenants``).
- A container's init is not dumpable, so nobody here can trace it, or look past it at the machine
  that it sees until its root is built.
- It is held to limits of its own by a cgroup, or where none can be written by the keeper.

The other way, to load nothing of a user's before the fork is inside, would cost each step the
loading of the executor, some 0.3 s.
"""

from __future__ import annotations

import os
import signal
import socket

from bessemer.launcher import (
    confinement,
    keeper,
    limits,
    linux,
    processes,
    protocol,
    root,
    seccomp,
    sockets,
    tenants,
)
from bessemer.launcher.folder import Record
from bessemer.launcher.protocol import Closed, Line

_FILTER = seccomp.own_program(zygote=True)


def start(request: Record, asker: Line) -> None:
    """Make the namespaces and the keeper, whose parent is the base zygote; then end."""
    os.setsid()
    group = limits.Cgroup(request["cgroups"]["paths"], request["cgroups"]["version"])
    group.create(request["limits"])
    uid, gid = os.getuid(), os.getgid()
    kinds = linux.CLONE_NEWUSER | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS | linux.CLONE_NEWPID
    linux.unshare(kinds)
    linux.map_owner(uid, gid)
    if linux.fork_sibling() == 0:
        try:
            _keep(request, asker, group)
        finally:
            os._exit(1)


def _keep(request: Record, asker: Line, group: limits.Cgroup) -> None:
    """In the keeper: start the zygote, tell that it can be asked, and keep it."""
    keeper.die_with_parent()
    listener = listen(request["socket"])
    registrar = listen(request["socket"] + tenants.SUFFIX)
    ours, theirs = protocol.pair()
    zygote = os.fork()
    if zygote == 0:
        try:
            _become(request, listener, theirs)
        finally:
            os._exit(1)
    try:
        machine_pid = processes.children(keeper.own_pid())[0]
        asker.send({"keeper": keeper.own_pid(), "zygote": machine_pid})
    except (Closed, IndexError):
        pass  # nobody will ask; then it ends by itself
    linux.close_all_but((listener.fileno(), registrar.fileno(), ours.fileno()))
    keeper.Keeper(zygote, (listener, registrar), ours, group, request).run()


def _become(request: Record, listener: socket.socket, line: Line) -> None:
    """In the zygote: go into the sandbox, become the environment's Python."""
    os.setsid()
    for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ, *keeper.HEEDED):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    limits.join(request["cgroups"]["paths"])
    linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWCGROUP)
    root.build(request["spec"])
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    kept = (listener.fileno(), line.fileno())
    confinement.confine(_FILTER if request["filtered"] else None, kept)
    sockets.guard({"sockets": request["guarded"]}, line, {})
    line.connection.close()
    os.set_inheritable(listener.fileno(), True)  # noqa: FBT003 -- positional only
    argv = [*request["argv"], str(listener.fileno())]
    os.execve(argv[0], argv, request["env"])


def listen(path: str) -> socket.socket:
    """A listening socket at the path that only its owner may use."""
    listener = socket.socket(socket.AF_UNIX)
    fresh = "%s.%d" % (path, keeper.own_pid())
    mask = os.umask(0o177)
    listener.bind(fresh)
    os.umask(mask)
    listener.listen(1024)
    os.rename(fresh, path)
    return listener
