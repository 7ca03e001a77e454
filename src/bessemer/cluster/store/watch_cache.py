"""Watches: each committed change, in order, to whoever selected it; a bounded history.

A reader that falls behind is told Expired and lists again: it never makes a write wait.
Source: k8s.io/apiserver/pkg/storage/cacher.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import orjson

from bessemer.base import logs
from bessemer.base.logs import fields
from bessemer.cluster.store.records import Change, Key, Record, serialize
from bessemer.kinds.kind import Object
from bessemer.kube.client import EventType
from bessemer.kube.errors import Expired, InternalError, version_to_come

_log = logs.get(__name__)

# What a resource's history keeps: enough for a client that reconnects, little enough for memory.
HISTORY_EVENTS = 10_000
HISTORY_BYTES = 8 * 1024 * 1024
# What ``compact`` leaves, however old: a quiet resource's watchers come back without a new list.
# As upstream's smallest watch cache (cacher's defaultLowerBoundCapacity).
KEPT_EVENTS = 100
KEPT_BYTES = 256 * 1024
# What waits for one slow reader before it has to list again. Events are shared by all readers,
# but those of the slowest are kept for it alone.
BUFFER_EVENTS = 4096
BUFFER_BYTES = 8 * 1024 * 1024
# Of what a reader starts with: made at a time, so that a slow reader keeps no event for each of
# thousands of objects.
_FIRST_EVENTS = 256

Matcher = Callable[[Object], bool]


class Event(NamedTuple):
    """A change as one watch sees it; ``data`` is the object already serialised."""

    type: EventType
    object: Object
    data: bytes
    version: int


class _Past(NamedTuple):
    # A change without its parsed objects: history is read seldom and must be small.
    type: EventType
    key: Key
    version: int
    data: bytes
    previous: bytes | None

    @property
    def size(self) -> int:
        """Bytes that it keeps."""
        return len(self.data) + len(self.previous or b"")

    def revive(self) -> Change:
        before = None
        if self.previous is not None:
            before = Record(self.key, 0, orjson.loads(self.previous), self.previous)
        record = Record(self.key, self.version, orjson.loads(self.data), self.data)
        return Change(self.type, record, before)


class Watcher:
    """One reader's selection and what waits for it.

    Args:
        namespace: "" for all.
        matches: None selects every object of the namespace.
        limit: how many events may wait.
        room: how many bytes of events may wait; one alone always may.
    """

    def __init__(
        self,
        namespace: str,
        matches: Matcher | None,
        limit: int = BUFFER_EVENTS,
        room: int = BUFFER_BYTES,
    ) -> None:
        self._namespace = namespace
        self._matches = matches
        self._limit = limit
        self._room = room
        self._bytes = 0  # of what waits in the buffer
        self._first: Iterator[Event] = iter(())  # what is told before that
        self._buffer: list[Event] = []
        self._waiter: asyncio.Future[None] | None = None
        self._ended = False
        self._error: Exception | None = None

    @property
    def ended(self) -> bool:
        """Whether no further event will come."""
        return self._ended

    def prefill(self, events: Iterable[Event]) -> None:
        """Put what the reader starts with; it doesn't count against the limits."""
        self._first = itertools.chain(self._first, events)

    def offer(self, change: Change) -> None:
        """Take the change if it is selected; too many waiting end the watch."""
        event = self.select(change)
        if event is None or self._ended:
            return
        size = len(event.data)
        if len(self._buffer) >= self._limit or (self._bytes and self._bytes + size > self._room):
            waiting = f"{len(self._buffer)} events, {self._bytes} bytes"
            self._buffer.clear()
            self.end(Expired(
                f"too old resource version: the watch fell behind by {waiting}; list again"
            ))  # fmt: skip
            return
        self._bytes += size
        self._buffer.append(event)
        self._wake()

    def end(self, error: Exception) -> None:
        """Let the reader have what waits, then the error."""
        if not self._ended:
            self._ended, self._error = True, error
        self._wake()

    def drop(self) -> None:
        """Let go of what waits: nobody reads any more."""
        self._first = iter(())
        self._buffer.clear()

    async def take(self, seconds: float | None = None) -> list[Event]:
        """The events that wait, at least one; after that many seconds an empty list.

        Raises:
            Expired: the watch ended; the reader has to list again.
        """
        events = list(itertools.islice(self._first, _FIRST_EVENTS))
        if len(events) == _FIRST_EVENTS:
            return events
        if not events and not self._buffer and not self._ended:
            await self._wait(seconds)
        if not events and not self._buffer and self._ended:
            # Handed over, not kept: its traceback leads to this very watcher and its reader's
            # connection, which would all wait for the collector to find the circle.
            error, self._error = self._error, None
            try:
                raise error or Expired("the watch is over; list again")
            finally:
                del error
        events += self._buffer
        self._buffer, self._bytes = [], 0
        return events

    async def _wait(self, seconds: float | None) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, self._wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer:
                timer.cancel()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    def select(self, change: Change) -> Event | None:
        type_, record, previous = change
        if self._namespace and record.key.namespace != self._namespace:
            return None
        if self._matches is None:
            return Event(type_, record.object, record.data, record.version)
        was = previous is not None and self._matches(previous.object)
        if type_ is EventType.DELETED:
            selected = was or self._matches(record.object)
            return Event(type_, record.object, record.data, record.version) if selected else None
        if self._matches(record.object):
            type_ = EventType.MODIFIED if was else EventType.ADDED
            return Event(type_, record.object, record.data, record.version)
        if was and previous is not None:
            # It left the selection: for this reader it is gone, as it last was there.
            last = restamp(previous.object, record.version)
            return Event(EventType.DELETED, last, serialize(last), record.version)
        return None


def restamp(obj: Object, version: int) -> Object:
    """The same object with another resourceVersion; the original stays as it is."""
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}}


class WatchCache:
    """History and watchers of all resources. Lives on the event loop.

    Args:
        version: the store's counter at the start; watches from before it are Expired.
    """

    def __init__(self, version: int, events: int = HISTORY_EVENTS) -> None:
        self._start = self._version = version
        self._limit = events
        self._floor: dict[str, int] = {}
        self._history: defaultdict[str, deque[_Past]] = defaultdict(deque)
        self._bytes: defaultdict[str, int] = defaultdict(int)
        self._watchers: defaultdict[str, list[Watcher]] = defaultdict(list)

    def publish(self, change: Change) -> None:
        """Remember the change and offer it to the resource's watchers."""
        type_, record, previous = change
        key = record.key
        self._version = record.version
        past = _Past(type_, key, record.version, record.data, previous.data if previous else None)
        history = self._history[key.resource]
        history.append(past)
        self._bytes[key.resource] += past.size
        while len(history) > self._limit or self._bytes[key.resource] > HISTORY_BYTES:
            self._drop(key.resource)
        if watchers := self._watchers.get(key.resource):
            for watcher in watchers:
                self._offer(watcher, change)
            if any(watcher.ended for watcher in watchers):
                self._watchers[key.resource] = [w for w in watchers if not w.ended]

    def compact(self, version: int) -> None:
        """Forget the history up to that version, but for a resource's last few events."""
        for resource, history in self._history.items():
            while history and history[0].version <= version and self._is_large(resource):
                self._drop(resource)

    def _is_large(self, resource: str) -> bool:
        return len(self._history[resource]) > KEPT_EVENTS or self._bytes[resource] > KEPT_BYTES

    def _drop(self, resource: str) -> None:
        dropped = self._history[resource].popleft()
        self._bytes[resource] -= dropped.size
        self._floor[resource] = dropped.version

    def _offer(self, watcher: Watcher, change: Change) -> None:
        try:
            watcher.offer(change)
        except Exception:  # noqa: BLE001 - one selector's bug must not leave writes unanswered
            _log.exception("watch failed", extra=fields(key=change.record.key))
            watcher.end(InternalError("the watch's selector failed; the server's log has why"))

    def attach(self, resource: str, watcher: Watcher, since: int) -> None:
        """Give the watcher every change of the resource after that version.

        Raises:
            Expired: the history does not reach back so far.
            Timeout: that version has not been yet.
        """
        oldest = self._floor.get(resource, self._start)
        if since < oldest:
            raise Expired(f"too old resource version: {since} ({oldest})")
        if since > self._version:
            raise version_to_come(since, self._version)
        missed: list[_Past] = []
        for past in reversed(self._history[resource]):
            if past.version <= since:
                break
            missed.append(past)
        events = (watcher.select(past.revive()) for past in reversed(missed))
        watcher.prefill(event for event in events if event)
        self._watchers[resource].append(watcher)

    def detach(self, resource: str, watcher: Watcher) -> None:
        """Forget the watcher."""
        watchers = self._watchers[resource]
        if watcher in watchers:
            watchers.remove(watcher)
        watcher.drop()

    def end_of(self, resource: str, error: Exception) -> None:
        """End the resource's watches."""
        for watcher in self._watchers.pop(resource, []):
            watcher.end(error)

    def end_all(self, error: Exception) -> None:
        """End every watch (the store closes)."""
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.end(error)
        self._watchers.clear()
