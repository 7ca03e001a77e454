"""The small process that all containers are forked from.

Started as ``python -I -S -c '…; main()' LISTENER IDLE`` by the runtime. It keeps next to nothing
in memory and never runs a command itself: each request on the socket that it inherits is answered
by a fork. One connection is the leash: while the control plane holds it, the zygote stays.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import time
from typing import List

from bessemer.launcher import execution, supervisor, warmstart
from bessemer.launcher.protocol import Closed, Line, Message


def main() -> None:
    """Serve requests until nobody holds the leash and nothing was asked for a while."""
    listener, idle = socket.socket(fileno=int(sys.argv[1])), float(sys.argv[2])
    listener.set_inheritable(False)
    gc.collect()
    gc.freeze()
    serve(listener, idle)


def serve(listener: socket.socket, idle: float) -> None:
    """Fork for each connection."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # forks are reaped by the kernel
    leashes: List[socket.socket] = []
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
            request = line.receive()
        except Closed:
            connection.close()
            continue
        if request["do"] == "leash":
            line.send({"pid": os.getpid()})
            leashes.append(connection)
            continue
        if os.fork() == 0:
            _become(request, line, [listener, *leashes])
        connection.close()


def _become(request: Message, line: Line, inherited: List[socket.socket]) -> None:
    """In the fork: do what was asked, then end."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for one in inherited:
            one.close()
        _DEEDS[request["do"]](request, line)
        code = 0
    except BaseException:  # noqa: BLE001 -- the fork must never fall back into the zygote's loop
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


_DEEDS = {
    "start": supervisor.start,
    "execute": execution.execute,
    "warm": warmstart.start,
}
