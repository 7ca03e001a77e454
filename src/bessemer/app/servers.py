"""Uvicorn servers on sockets that are bound already, without its own handling of signals."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_GRACE = 2  # seconds that open requests get at the end; watches never end by themselves
_BACKLOG = 1024


class _Protocol(HttpToolsProtocol):
    """As uvicorn's, but an upgrade that is not served (kubectl exec) is no news for the log.

    The request goes on as a plain one, and its answer says what is not there.
    """

    def _unsupported_upgrade_warning(self) -> None:
        return


class Server(uvicorn.Server):
    """One HTTP face; ``run`` until ``stop``."""

    def __init__(self, app: Any, bound: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        config = uvicorn.Config(
            app,
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
