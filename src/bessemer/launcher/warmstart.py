"""Turning a fork of the zygote into the warm zygote of one environment.

The environment's packages are the user's choice, so the warm zygote lives in a user and a mount
namespace of its own, where it sees the interpreter, the environment and the launcher alone. The
containers that it brings programs to have user namespaces beneath its own, which is what lets
its forks enter them.
"""

from __future__ import annotations

import os
import signal
import socket

from bessemer.launcher import linux, root
from bessemer.launcher.folder import Record
from bessemer.launcher.protocol import Closed, Line


def start(request: Record, asker: Line) -> None:
    """Listen at the request's socket, go into the sandbox, become the environment's Python."""
    os.setsid()
    for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    listener = listen(request["socket"])
    uid, gid = os.getuid(), os.getgid()
    kinds = linux.CLONE_NEWUSER | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS
    linux.unshare(kinds)
    linux.map_owner(uid, gid)
    linux.unshare(linux.CLONE_NEWNS)
    root.build(request["spec"])
    linux.drop_privileges()
    # After the capabilities, for their change would forget it: no warm zygote without its zygote.
    linux.die_with_parent(signal.SIGTERM)
    try:
        asker.send({"pid": os.getpid()})
    except Closed:
        return
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.set_inheritable(listener.fileno(), True)  # noqa: FBT003 -- positional only
    argv = [*request["argv"], str(listener.fileno())]
    os.execve(argv[0], argv, request["env"])


def listen(path: str) -> socket.socket:
    """A listening socket at the path that only its owner may use."""
    listener = socket.socket(socket.AF_UNIX)
    fresh = "%s.%d" % (path, os.getpid())
    mask = os.umask(0o177)
    listener.bind(fresh)
    os.umask(mask)
    listener.listen(1024)
    os.rename(fresh, path)
    return listener
