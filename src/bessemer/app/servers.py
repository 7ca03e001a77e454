"""Uvicorn servers on sockets that are bound already, without its own handling of signals.

Connections are accepted here, not by the loop: so that what has not finished its TLS handshake is
counted, too, and can be ended; and each port takes a few in its turn. What a connection may take
is said in ``connections``, and held by ``protocol``.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import ssl
from collections.abc import Awaitable, Iterator
from functools import partial
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bessemer.app.connections import Limits, Table, Visit, limits_of
from bessemer.app.protocol import PIECE, BoundedProtocol
from bessemer.base import logs

_BACKLOG = 1024
_GRACE = 2  # seconds that open requests get at the end; watches never end by themselves
_SHUTDOWN = 2.0  # seconds that a client gets for the end of its TLS
_AT_ONCE = 8  # connections taken before all else gets its turn
_PAUSE = 0.1  # seconds after the kernel had none to give
_log = logs.get(__name__)


def raise_descriptors() -> Limits:
    """Let this process have as many descriptors as it may; the limits of each port that follow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return limits_of(soft if soft != resource.RLIM_INFINITY else 1 << 20)


class _InPieces:
    """Sends large bodies of an app in pieces, each once the client has taken the one before.

    Nothing here is a coroutine but for large bodies: each costs every request a microsecond.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        def cut(message: Message) -> Awaitable[None]:
            if "body" in message and len(message["body"]) > PIECE:
                return _send_pieces(message, send)
            return send(message)

        return self._app(scope, receive, cut)


async def _send_pieces(message: Message, send: Send) -> None:
    body = message["body"]
    last = (len(body) - 1) // PIECE * PIECE
    for start in range(0, last, PIECE):
        piece = body[start : start + PIECE]
        await send({"type": message["type"], "body": piece, "more_body": True})
    await send({**message, "body": body[last:]})


class Server(uvicorn.Server):
    """One HTTP face; ``run`` until ``stop``."""

    def __init__(
        self,
        app: Any,
        bound: socket.socket,
        tls: ssl.SSLContext | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._limits = limits or Limits()
        config = uvicorn.Config(
            _InPieces(app),
            interface="asgi3",  # it would be guessed from whether the app is a coroutine
            loop="none",
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=int(self._limits.idle_seconds),
            timeout_graceful_shutdown=_GRACE,
        )
        config.load()
        config.ssl = tls
        super().__init__(config)
        self._bound = bound
        self._up = asyncio.Event()
        self._table = Table(self._limits)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the composition root."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections, and tell who waits."""
        await self.lifespan.startup()
        self._bound.listen(_BACKLOG)
        self._bound.setblocking(False)  # noqa: FBT003 - the standard library's signature
        door = _Door(self._bound, self._table, self._make_connection)
        self.servers = [cast(asyncio.Server, door)]
        self.started = True
        self._up.set()

    async def _make_connection(self, visit: Visit) -> None:
        """Greet, and hand over to the protocol."""
        tls = self.config.ssl
        factory = partial(
            BoundedProtocol,
            table=self._table,
            visit=visit,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            _loop=asyncio.get_running_loop(),
        )
        await asyncio.get_running_loop().connect_accepted_socket(
            factory,
            visit.socket,
            ssl=tls,
            ssl_handshake_timeout=self._limits.head_seconds if tls else None,
            ssl_shutdown_timeout=_SHUTDOWN if tls else None,
        )

    async def on_tick(self, counter: int) -> bool:
        """As uvicorn's, ten times a second; and end what is overdue."""
        if counter % 10 == 0:
            self._table.sweep(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    async def run_until_stopped(self) -> None:
        """Serve until somebody asks for the end."""
        await self.serve([self._bound])

    async def wait_started(self) -> None:
        """Wait until requests are taken."""
        await self._up.wait()

    def stop(self) -> None:
        """Take no more requests; ``run_until_stopped`` returns when the open ones are done."""
        self.should_exit = True


class _Door:
    """Takes connections from a listening socket; to uvicorn, it is the loop's server."""

    def __init__(self, bound: socket.socket, table: Table, greet: Any) -> None:
        self._bound = bound
        self._table = table
        self._greet = greet
        self._greeting: set[asyncio.Task[None]] = set()
        self._taking = asyncio.create_task(self._take(), name="accept")

    async def _take(self) -> None:
        loop = asyncio.get_running_loop()
        taken = 0
        while True:
            try:
                accepted, (peer, _) = await loop.sock_accept(self._bound)
            except ConnectionAbortedError:
                continue
            except OSError as error:
                # No descriptor or no memory is left. The kernel tells of the waiting one again at
                # once, so that without a pause this would spin.
                _log.warning("no connection taken", extra=logs.fields(reason=str(error)))
                self._table.make_room()
                await asyncio.sleep(_PAUSE)
                continue
            visit = self._table.admit(accepted, peer, loop.time())
            if visit is None:
                accepted.close()
            else:
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                task = asyncio.create_task(self._make(visit))
                self._greeting.add(task)
                task.add_done_callback(self._greeting.discard)
            taken += 1
            if taken % _AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _make(self, visit: Visit) -> None:
        try:
            await self._greet(visit)
        except OSError:  # among them SSLError, and the handshake's timeout
            self._table.remove(visit)
            visit.socket.close()

    def close(self) -> None:
        """Accept no more connections."""
        self._taking.cancel()
        self._table.end_greetings()

    async def wait_closed(self) -> None:
        """Wait until none is taken or greeted any more."""
        await asyncio.gather(self._taking, *self._greeting, return_exceptions=True)
