"""Who is connected to a port, and who has to go: how many, how long, who first. Without I/O.

Anybody on the machine can connect, and hold what he connected open, without a token. So a full
table refuses nobody who comes while somebody is there who has shown no token, or waits idle: the
oldest of those goes. Who has shown one and is being answered, a watch above all, stays.
"""

from __future__ import annotations

import contextlib
import socket
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol


class Phase(Enum):
    """What a connection is doing, and so how long it may take for that."""

    GREETING = auto()  # accepted; with TLS, until its handshake is over
    HEAD = auto()  # a request's first line and headers are to come whole
    BODY = auto()  # its body is
    ANSWER = auto()  # it is being answered
    REST = auto()  # what is left of a refused request is thrown away
    IDLE = auto()  # between two requests


@dataclass(frozen=True)
class Limits:
    """What a connection may take.

    Attributes:
        connections: of one port.
        head_bytes: of a request's first line and headers together.
        head_seconds: until they are whole, and the TLS handshake before them.
        body_seconds: until the body is whole, and another for each ``body_rate`` bytes of it.
        body_rate: bytes a second.
        rest_bytes, rest_seconds: of a request that was refused before it was whole; so long it
            is read, for a connection cut at once may cost the client the answer.
        idle_seconds: between two requests.
        pipelined: requests that may wait for the answer to the one before.
    """

    connections: int = 4096
    head_bytes: int = 64 * 1024
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    body_rate: int = 1024
    rest_bytes: int = 64 * 1024 * 1024
    rest_seconds: float = 10.0
    idle_seconds: float = 75.0
    pipelined: int = 64


def limits_of(descriptors: int) -> Limits:
    """The limits of each port where the process may have that many descriptors."""
    return Limits(connections=max(32, min(Limits.connections, (descriptors - 512) // 4)))


class Line(Protocol):
    """The way to a client, once it is there."""

    def cut(self) -> None:
        """End it now."""
        ...

    @property
    def is_heard(self) -> bool:
        """Whether we read what it sends; not while it sends faster than the app takes it."""
        ...


class Visit:
    """One connection of a client, from its accept to its end."""

    __slots__ = ("is_trusted", "line", "peer", "phase", "since", "size", "socket")

    def __init__(self, accepted: socket.socket, peer: str, now: float) -> None:
        self.socket = accepted
        self.peer = peer
        self.line: Line | None = None  # once it can be talked to
        self.phase = Phase.GREETING
        self.since = now  # monotonic; of the phase, or of what came last in a body
        self.size = 0  # bytes of the body, or of the rest
        self.is_trusted = False  # whether it has shown a token that is known

    def enter(self, phase: Phase, now: float) -> None:
        """The connection begins another phase; its time for that starts now."""
        self.phase = phase
        self.since = now
        self.size = 0

    def is_overdue(self, limits: Limits, now: float) -> bool:
        """Whether it took longer than it may."""
        spent = now - self.since
        match self.phase:
            case Phase.GREETING | Phase.HEAD:
                return spent > limits.head_seconds
            case Phase.BODY:
                return spent > limits.body_seconds + self.size / limits.body_rate
            case Phase.REST:
                return spent > limits.rest_seconds or self.size > limits.rest_bytes
            case Phase.IDLE:
                return spent > limits.idle_seconds
            case Phase.ANSWER:
                return False

    def end(self) -> None:
        """Cut the connection."""
        if self.line is not None:
            self.line.cut()
        else:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)


# A member of an Enum is slow to look up, and these are with each request.
_HEAD, _IDLE = Phase.HEAD, Phase.IDLE
_Ordered = OrderedDict[Visit, None]
# How many that are being answered are passed over in the search for one that may go.
_PASSED = 8


class Table:
    """The connections of one port."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._all: set[Visit] = set()
        # Who has shown no token, oldest first: all of them, and those of each address.
        self._strangers: _Ordered = OrderedDict()
        self._by_peer: dict[str, _Ordered] = {}
        self._idle: _Ordered = OrderedDict()  # who has, and is idle; longest first

    def __len__(self) -> int:
        return len(self._all)

    def admit(self, accepted: socket.socket, peer: str, now: float) -> Visit | None:
        """Let a connection in, another go for it if it must; None: there is no place."""
        limit = self.limits.connections
        own = self._by_peer.get(peer, OrderedDict())
        # One address has half the places at most for those without a token.
        if len(own) >= max(1, limit // 2):
            self._evict(own)
        if len(self._all) >= limit and not self.make_room():
            return None
        visit = Visit(accepted, peer, now)
        self._all.add(visit)
        self._strangers[visit] = None
        self._by_peer.setdefault(peer, OrderedDict())[visit] = None
        return visit

    def make_room(self) -> bool:
        """End one connection; whether there was one that may go."""
        return self._evict(self._strangers) or self._evict(self._idle)

    def _evict(self, candidates: _Ordered) -> bool:
        for _ in range(min(_PASSED, len(candidates))):
            oldest = next(iter(candidates))
            if oldest.phase is not Phase.ANSWER:
                break
            candidates.move_to_end(oldest)
        if not candidates:
            return False
        gone = next(iter(candidates))
        self.remove(gone)
        gone.end()
        return True

    def trust(self, visit: Visit) -> None:
        """It has shown a token that is known."""
        if visit in self._all and not visit.is_trusted:
            visit.is_trusted = True
            self._forget_stranger(visit)

    def rest(self, visit: Visit, now: float) -> None:
        """The connection waits for its next request from now on."""
        visit.enter(_IDLE, now)
        if visit.is_trusted and visit in self._all:
            self._idle[visit] = None

    def wake(self, visit: Visit, now: float) -> None:
        """The connection has begun another request."""
        visit.enter(_HEAD, now)
        self._idle.pop(visit, None)

    def remove(self, visit: Visit) -> None:
        """The connection has ended: count it no more."""
        self._all.discard(visit)
        self._idle.pop(visit, None)
        self._forget_stranger(visit)

    def _forget_stranger(self, visit: Visit) -> None:
        if visit in self._strangers:
            del self._strangers[visit]
            own = self._by_peer[visit.peer]
            del own[visit]
            if not own:
                del self._by_peer[visit.peer]

    def sweep(self, now: float) -> None:
        """End what took longer than it may."""
        for visit in [each for each in self._all if each.is_overdue(self.limits, now)]:
            if visit.phase is Phase.BODY and visit.line is not None and not visit.line.is_heard:
                visit.enter(Phase.BODY, now)  # it waits for us
                continue
            self.remove(visit)
            visit.end()

    def end_greetings(self) -> None:
        """End those that have not begun to talk."""
        for visit in [each for each in self._all if each.line is None]:
            self.remove(visit)
            visit.end()
