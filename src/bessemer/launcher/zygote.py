"""The small process that all containers are forked from.

Started as ``python -I -S -c '…; main()' LISTENER IDLE`` by the runtime. It keeps next to nothing
in memory and never runs a command itself: each request on the socket that it inherits is answered
by a fork, which was made before and waits for it. One connection is the leash: while the control
plane holds it, the zygote stays.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import time
from typing import List, Tuple

from bessemer.launcher import execution, linux, protocol, sockets, supervisor, warmstart
from bessemer.launcher.protocol import Closed, Line, Message

#: Signals that have no other disposition, and those that Python ignores for our own good.
_STAY = {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}
#: How long one who connected may take to ask, in seconds.
_PATIENCE = 10.0


def main() -> None:
    """Serve requests until nobody holds the leash and nothing was asked for a while."""
    listener, idle = socket.socket(fileno=int(sys.argv[1])), float(sys.argv[2])
    listener.set_inheritable(False)
    _let_go(listener)
    gc.collect()
    gc.freeze()
    serve(listener, idle)


def _let_go(listener: socket.socket) -> None:
    """Keep nothing of whoever started the server: all containers inherit from here."""
    linux.close_all_but((listener.fileno(),))
    linux.join_session_keyring()
    os.chdir("/")
    os.umask(0o022)
    for number in signal.valid_signals() - _STAY:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    with contextlib.suppress(PermissionError):  # an ordinary user can't leave his groups
        os.setgroups(())
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "r+") as file:
        if int(file.read()) < 0:  # the server's protection isn't for what it runs
            file.seek(0)
            file.write("0")


def serve(listener: socket.socket, idle: float) -> None:
    """Give each connection a fork."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # forks are reaped by the kernel
    leashes: List[socket.socket] = []
    spare = _fork([listener])
    last = time.monotonic()
    while leashes or time.monotonic() - last < idle:
        pause = None if leashes else idle
        readable = select.select([listener, *leashes], [], [], pause)[0]
        for leash in leashes[:]:
            if leash in readable:  # it says nothing, so this is its end
                leashes.remove(leash)
                leash.close()
                last = time.monotonic()
        if listener not in readable:
            continue
        last = time.monotonic()
        connection = listener.accept()[0]
        line = Line(connection)
        try:
            request = line.receive(_PATIENCE)
        except Closed:
            connection.close()
            continue
        if request.get("do") == "leash":
            line.send({"pid": os.getpid()})
            leashes.append(connection)
            continue
        if request.get("do") not in _DEEDS:
            connection.close()
            continue
        try:
            spare.send(request, (connection.fileno(),))
        except Closed:  # somebody killed it
            spare = _fork([listener, connection, *leashes])
            spare.send(request, (connection.fileno(),))
        connection.close()
        spare.connection.close()
        spare = _fork([listener, *leashes])


def _fork(inherited: List[socket.socket]) -> Line:
    """A line to a fork that waits for its request and the connection that it came by."""
    ours, theirs = protocol.pair()
    if os.fork() == 0:
        _serve_one(theirs, [ours.connection, *inherited])
    theirs.connection.close()
    return ours


def _serve_one(zygote: Line, inherited: List[socket.socket]) -> None:
    """In the fork: do what is asked, then end."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for one in inherited:
            one.close()
        supervisor.rehearse()
        request, connection = _take(zygote)
        _DEEDS[request["do"]](request, connection)
        code = 0
    except BaseException:  # noqa: BLE001 -- the fork must never fall back into the zygote's loop
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _take(zygote: Line) -> Tuple[Message, Line]:
    try:
        request, descriptors = zygote.receive_with_descriptors()
    except Closed:
        os._exit(0)  # the zygote ended
    zygote.connection.close()
    return request, Line(socket.socket(fileno=descriptors[0]))


_DEEDS = {
    "start": supervisor.start,
    "execute": execution.execute,
    "warm": warmstart.start,
    "try sockets": sockets.answer_trial,
}
