"""HTTP/1.1 as uvicorn speaks it, within the limits of a connection.

What uvicorn leaves open: headers without end, requests that never become whole, bodies that go on
after their refusal, thousands of requests in one piece.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from bessemer.app.connections import Phase, Table, Visit

_REFUSALS = {
    400: (b"400 Bad Request", b"Invalid HTTP request received."),
    431: (
        b"431 Request Header Fields Too Large",
        b"A request's first line and headers may have %d bytes together: send less in them.",
    ),
}
#: Bytes of an answer that are encrypted and wait for the client at a time. The buffer they wait in
#: keeps its largest size for as long as the connection lives: a list of 2 MiB to each of 200
#: watches would hold 400 MiB.
PIECE = 32 * 1024
# A member of an Enum is slow to look up, and these are with each request.
_HEAD, _BODY, _ANSWER = Phase.HEAD, Phase.BODY, Phase.ANSWER
_REST, _IDLE = Phase.REST, Phase.IDLE
_CREDENTIALS = (b"authorization", b"cookie")
# Answers to a request whose token is not known.
_UNKNOWN = (401, 403)


class _TooLarge(Exception):
    """A request's head has more bytes than we take."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection; ``table`` knows what it is at."""

    def __init__(self, *, table: Table, visit: Visit, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._table = table
        self._visit = visit
        self._fed = 0  # bytes since the parser last told of anything whole
        self._is_refused = False

    # ---- what the table asks of us

    def cut(self) -> None:
        """See ``connections.Line``."""
        self.transport.abort()

    @property
    def is_heard(self) -> bool:
        """See ``connections.Line``."""
        return not self.flow.read_paused

    # ---- the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The handshake is over. Who sends waits as soon as one piece does."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=PIECE)
        self._visit.line = self
        self._visit.enter(_HEAD, self.loop.time())

    def connection_lost(self, exc: Exception | None) -> None:
        """The client or the server has closed the connection."""
        self._table.remove(self._visit)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes came from the client."""
        self._unset_keepalive_if_required()
        if self._is_refused:
            self._throw_away(len(data))
            return
        self._fed += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # The request goes on as a plain one, and its answer says what is not there.
            return
        except httptools.HttpParserError as error:
            self._refuse(431 if isinstance(error.__context__, _TooLarge) else 400)
            return
        if self._fed > self._table.limits.head_bytes:
            self._refuse(431)

    def _refuse(self, status: int) -> None:
        """Say why, and read on for a while: a client that still sends would miss it."""
        self._is_refused = True
        self._visit.enter(_REST, self.loop.time())
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.close()  # it can't be answered twice
                return
        line, text = _REFUSALS[status]
        text = text % self._table.limits.head_bytes if b"%d" in text else text
        self.flow.resume_reading()
        self.transport.write(
            b"HTTP/1.1 %s\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n%s" % (line, len(text), text)
        )
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _throw_away(self, size: int) -> None:
        self._visit.size += size
        if self._visit.size > self._table.limits.rest_bytes:
            self.transport.abort()

    # ---- the parser tells

    def on_message_begin(self) -> None:
        """The parser has found the beginning of a request."""
        super().on_message_begin()
        if self._visit.phase is _IDLE:
            self._table.wake(self._visit, self.loop.time())

    def on_headers_complete(self) -> None:
        """The parser has read a request's whole head."""
        limits = self._table.limits
        if self._fed > limits.head_bytes and self._head_size() > limits.head_bytes:
            raise _TooLarge
        self._fed = 0
        if len(self.pipeline) >= limits.pipelined:
            self.transport.abort()
        if self._visit.phase is _HEAD:
            self._visit.enter(_BODY, self.loop.time())
        super().on_headers_complete()

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def on_body(self, body: bytes) -> None:
        """A piece of its body came."""
        self._fed = 0
        if self._visit.phase is _REST:
            self._throw_away(len(body))
        else:
            self._visit.size += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The parser has read a request's whole body."""
        self._fed = 0
        super().on_message_complete()
        if self._visit.phase is _REST:
            self._table.rest(self._visit, self.loop.time())
        elif self._visit.phase is _BODY:
            self._visit.phase = _ANSWER

    def on_response_complete(self) -> None:
        """The app has answered a request whole."""
        if self.pipeline:
            following = self.pipeline[-1][0]
            phase = _BODY if following.more_body else _ANSWER
            self._visit.enter(phase, self.loop.time())
        elif self.cycle.more_body:
            self._visit.enter(_REST, self.loop.time())
        else:
            self._table.rest(self._visit, self.loop.time())
        super().on_response_complete()

    # ---- who it is

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if not self._visit.is_trusted and any(
            name in _CREDENTIALS for name, _ in cycle.scope["headers"]
        ):
            app = _witnessed(app, self._table, self._visit)
        super()._start_asgi_task(cycle, app)


def _witnessed(app: Any, table: Table, visit: Visit) -> Any:
    """The app; whoever has shown it a token that it knows is trusted as soon as it answers."""

    async def witnessed(scope: Any, receive: Any, send: Any) -> None:
        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start" and message["status"] not in _UNKNOWN:
                table.trust(visit)
            await send(message)

        await app(scope, receive, sending)

    return witnessed
