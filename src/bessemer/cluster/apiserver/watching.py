"""Watches as HTTP: one line of JSON an event, until the client or its timeout ends it.

Source: k8s.io/apiserver/pkg/endpoints/handlers/watch.go.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Iterator

import orjson

from bessemer.base.clock import Clock
from bessemer.cluster.apiserver import render, versions
from bessemer.cluster.apiserver.machine import Machine
from bessemer.cluster.apiserver.request import ApiRequest
from bessemer.cluster.store.watch_cache import Event, Watcher
from bessemer.kinds.kind import Kind
from bessemer.kube.client import Selection
from bessemer.kube.errors import ApiError, Expired
from bessemer.kube.requests import Target, WatchOptions

_MIN_SECONDS = 1800  # without timeoutSeconds a watch lasts this long, up to twice as long
_BOOKMARK_SECONDS = 55.0
# Bytes of events that are made ready to send at a time: a slow reader keeps no more than that, and
# what a watch begins with may be megabytes.
_PIECE_BYTES = 32 * 1024


class _Gone(Exception):
    """The client hung up."""


async def serve(
    exchange: ApiRequest, machine: Machine, clock: Clock, target: Target, selection: Selection
) -> None:
    """Stream the events of one watch."""
    kind = target.kind
    options = WatchOptions(
        exchange.query.get("resourceVersion", ""),
        exchange.flag("allowWatchBookmarks"),
        exchange.flag("sendInitialEvents"),
    )
    seconds = exchange.number("timeoutSeconds") or random.uniform(1, 2) * _MIN_SECONDS
    form = render.read_form(exchange)
    await exchange.read()
    try:
        watcher = machine.watch(kind, selection, options)
    except Expired as error:
        await exchange.begin(b"application/json")
        await exchange.write(error_line(error))
        await exchange.end()
        return
    hangup = asyncio.ensure_future(_end_on_hangup(exchange, watcher))
    try:
        await exchange.begin(b"application/json")
        # The status line goes out at once: a client waits for it before it acts.
        await exchange.write(b"")
        stream = _Stream(exchange, machine, clock, kind, form)
        await stream.run(watcher, clock.monotonic() + seconds, bookmarks=options.bookmarks)
        await exchange.end()
    except _Gone:
        pass
    finally:
        hangup.cancel()
        machine.unwatch(kind, watcher)


async def _end_on_hangup(exchange: ApiRequest, watcher: Watcher) -> None:
    await exchange.until_disconnected()
    watcher.end(_Gone())


class _Stream:
    """Writes a watcher's events."""

    def __init__(
        self, exchange: ApiRequest, machine: Machine, clock: Clock, kind: Kind, form: str
    ) -> None:
        self._exchange = exchange
        self._machine = machine
        self._clock = clock
        self._kind = kind
        self._form = form

    async def run(self, watcher: Watcher, deadline: float, *, bookmarks: bool) -> None:
        """Until the deadline, or until the watcher ends."""
        while (left := deadline - self._clock.monotonic()) > 0:
            try:
                events = await watcher.take(min(left, _BOOKMARK_SECONDS))
            except ApiError as error:
                await self._exchange.write(error_line(error))
                return
            if events:
                for piece in self._pieces(events):
                    await self._exchange.write(piece)
            elif bookmarks:
                await self._exchange.write(self._format(self._machine.bookmark(self._kind)))

    def _pieces(self, events: Iterable[Event]) -> Iterator[bytes]:
        lines: list[bytes] = []
        size = 0
        for event in events:
            lines.append(self._format(event))
            size += len(lines[-1])
            if size >= _PIECE_BYTES:
                yield b"".join(lines)
                lines, size = [], 0
        if lines:
            yield b"".join(lines)

    def _format(self, event: Event) -> bytes:
        if self._kind.stored:
            event = versions.event(self._kind, event)
        data = event.data
        if self._form:
            now = self._clock.now()
            data = render.event(self._exchange, self._form, self._kind, event, now)
        return _line(event.type.encode(), data)


def error_line(error: ApiError) -> bytes:
    """The last line of a watch that can't go on."""
    return _line(b"ERROR", orjson.dumps(error.to_status()))


def _line(type_: bytes, data: bytes) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (type_, data)
