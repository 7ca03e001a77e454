"""Uvicorn servers on sockets that are bound already, without its own handling of signals."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_GRACE = 2  # seconds that open requests get at the end; watches never end by themselves
_BACKLOG = 1024
# Bytes of an answer that are encrypted and wait for the client at a time. The buffer they wait in
# keeps its largest size for as long as the connection lives: a list of 2 MiB to each of 200
# watches would hold 400 MiB.
_PIECE = 32 * 1024


class _InPieces:
    """Sends large bodies of an app in pieces, each once the client has taken the one before.

    Nothing here is a coroutine but for large bodies: each costs every request a microsecond.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        def cut(message: Message) -> Awaitable[None]:
            if "body" in message and len(message["body"]) > _PIECE:
                return _send_pieces(message, send)
            return send(message)

        return self._app(scope, receive, cut)


async def _send_pieces(message: Message, send: Send) -> None:
    body = message["body"]
    last = (len(body) - 1) // _PIECE * _PIECE
    for start in range(0, last, _PIECE):
        piece = body[start : start + _PIECE]
        await send({"type": message["type"], "body": piece, "more_body": True})
    await send({**message, "body": body[last:]})


class _Protocol(HttpToolsProtocol):
    """As uvicorn's, but an upgrade that is not served (kubectl exec) is no news for the log.

    The request goes on as a plain one, and its answer says what is not there.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As uvicorn's; who sends waits as soon as one piece does."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=_PIECE)

    def _unsupported_upgrade_warning(self) -> None:
        return


class Server(uvicorn.Server):
    """One HTTP face; ``run`` until ``stop``."""

    def __init__(self, app: Any, bound: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        config = uvicorn.Config(
            _InPieces(app),
            interface="asgi3",  # it would be guessed from whether the app is a coroutine
            loop="none",
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=_GRACE,
        )
        config.load()
        config.ssl = tls
        super().__init__(config)
        self._bound = bound
        self._up = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the composition root."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, and tell who waits."""
        await super().startup(sockets)
        self._up.set()

    async def run_until_stopped(self) -> None:
        """Serve."""
        await self.serve([self._bound])

    async def wait_started(self) -> None:
        """Wait until requests are taken."""
        await self._up.wait()

    def stop(self) -> None:
        """Take no more requests; ``run_until_stopped`` returns when the open ones are done."""
        self.should_exit = True
