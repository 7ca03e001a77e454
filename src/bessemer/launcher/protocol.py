"""How the runtime, the zygotes and a container's processes talk: one JSON line a message.

Whoever runs a user's code may say anything at all, at any pace. So a line takes what is not a
message, one that is too long and descriptors that nobody asked for as an end of the talk, and
waits no longer than it was told to.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import select
import socket
import struct
import time
from typing import Any, Dict, List, Optional, Tuple

Message = Dict[str, Any]
_MOST_DESCRIPTORS = 16
_MOST_BYTES = 1 << 20
_PIECE = 1 << 16
_CREDENTIALS = struct.Struct("3i")


class Closed(Exception):
    """The other side is gone, or says what is no message, or said nothing in time."""


class Line:
    """One side of a connected stream socket; reads and writes whole messages.

    Attributes:
        sender: the pid, in this process's own namespace, of who sent what was read last, as the
            kernel says; 0 where ``ask_for_sender`` was not called.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.sender = 0
        self._rest = b""

    def fileno(self) -> int:
        """For poll."""
        return self.connection.fileno()

    def ask_for_sender(self) -> None:
        """From now on have the kernel tell who sends; before anything is sent."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

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

    def receive(self, patience: Optional[float] = None) -> Message:
        """The next message; waits for it, at most this many seconds.

        Raises:
            Closed: the other side ended before a whole message, or sent something else.
        """
        message, descriptors = self.receive_with_descriptors(patience)
        _close(descriptors)
        return message

    def receive_with_descriptors(
        self, patience: Optional[float] = None
    ) -> Tuple[Message, List[int]]:
        """The next message and the descriptors that came with it."""
        deadline = None if patience is None else time.monotonic() + patience
        descriptors: List[int] = []
        try:
            while b"\n" not in self._rest:
                self._wait(deadline)
                self._read(descriptors)
            return self._take(), descriptors
        except Closed:
            _close(descriptors)
            raise

    def receive_ready(self) -> Optional[Message]:
        """What has come, without waiting for more of it: a message, or None if it isn't whole.

        Raises:
            Closed: as ``receive``.
        """
        descriptors: List[int] = []
        try:
            if b"\n" not in self._rest:
                self._read(descriptors, socket.MSG_DONTWAIT)
            return self._take() if b"\n" in self._rest else None
        except BlockingIOError:
            return None
        finally:
            _close(descriptors)

    def _wait(self, deadline: Optional[float]) -> None:
        if deadline is None:
            return
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise Closed

    def _read(self, descriptors: List[int], flags: int = 0) -> None:
        width = array.array("i").itemsize
        room = socket.CMSG_SPACE(_MOST_DESCRIPTORS * width) + socket.CMSG_SPACE(_CREDENTIALS.size)
        try:
            data, ancillary, _, _ = self.connection.recvmsg(_PIECE, room, flags)
        except BlockingIOError:
            raise
        except OSError as error:
            raise Closed from error
        for _, kind, payload in ancillary:
            if kind == socket.SCM_RIGHTS:
                whole = len(payload) - len(payload) % width
                descriptors.extend(array.array("i", payload[:whole]))
            elif len(payload) == _CREDENTIALS.size:
                self.sender = _CREDENTIALS.unpack(payload)[0]
        if not data or len(self._rest) + len(data) > _MOST_BYTES + _PIECE:
            raise Closed
        if len(descriptors) > _MOST_DESCRIPTORS:
            raise Closed
        self._rest += data

    def _take(self) -> Message:
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            raise Closed from None
        if not isinstance(message, dict):
            raise Closed
        return message


def _close(descriptors: List[int]) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def pair() -> Tuple[Line, Line]:
    """Two ends of one line."""
    one, other = socket.socketpair()
    return Line(one), Line(other)
