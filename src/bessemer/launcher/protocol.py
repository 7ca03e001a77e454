"""How the runtime, the zygotes and a container's processes talk: one JSON line a message."""

from __future__ import annotations

import array
import json
import socket
from typing import Any, Dict, List, Tuple

Message = Dict[str, Any]
_MOST_DESCRIPTORS = 16
_MOST_BYTES = 1 << 20


class Closed(Exception):
    """The other side is gone."""


class Line:
    """One side of a connected stream socket; reads and writes whole messages."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._rest = b""

    def fileno(self) -> int:
        """For poll."""
        return self.connection.fileno()

    def send(self, message: Message, descriptors: Tuple[int, ...] = ()) -> None:
        """Send a message, with descriptors beside its first bytes.

        Raises:
            Closed: nobody is there to read it.
        """
        data = json.dumps(message).encode() + b"\n"
        try:
            if descriptors:
                rights = array.array("i", descriptors)
                ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
                data = data[self.connection.sendmsg([data], ancillary) :]
            if data:  # else the other side may have read it all and be gone
                self.connection.sendall(data)
        except OSError as error:
            raise Closed from error

    def receive(self) -> Message:
        """The next message; waits for it.

        Raises:
            Closed: the other side ended before a whole message.
        """
        return self.receive_with_descriptors()[0]

    def receive_with_descriptors(self) -> Tuple[Message, List[int]]:
        """The next message and the descriptors that came with it."""
        descriptors: List[int] = []
        room = socket.CMSG_SPACE(_MOST_DESCRIPTORS * array.array("i").itemsize)
        while b"\n" not in self._rest:
            try:
                data, ancillary, _, _ = self.connection.recvmsg(65536, room)
            except OSError as error:
                raise Closed from error
            for _, kind, payload in ancillary:
                if kind == socket.SCM_RIGHTS:
                    whole = len(payload) - len(payload) % array.array("i").itemsize
                    descriptors.extend(array.array("i", payload[:whole]))
            if not data or len(self._rest) > _MOST_BYTES:
                raise Closed
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        message: Message = json.loads(line)
        return message, descriptors


def pair() -> Tuple[Line, Line]:
    """Two ends of one line."""
    one, other = socket.socketpair()
    return Line(one), Line(other)
