"""Watches: each committed change, in order, to whoever selected it; a bounded history.

A reader that falls behind is told Expired and lists again: it never makes a write wait.
Source: k8s.io/apiserver/pkg/storage/cacher.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

import orjson

from bessemer.base import logs
from bessemer.base.logs import fields
from bessemer.cluster.store.records import Change, Key, Record
from bessemer.kube.client import EventType
from bessemer.kube.errors import Expired, InternalError, version_to_come
from bessemer.resources.kind import Object

_log = logs.get(__name__)

# What a resource's history keeps: enough for a client that reconnects, little enough for memory.
HISTORY_EVENTS = 10_000
HISTORY_BYTES = 8 * 1024 * 1024
# Events that wait for one slow reader before it has to list again.
BUFFER_EVENTS = 4096

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
    """

    def __init__(
        self, namespace: str, matches: Matcher | None, limit: int = BUFFER_EVENTS
    ) -> None:
        self._namespace = namespace
        self._matches = matches
        self._limit = self._room = limit
        self._buffer: list[Event] = []
        self._waiter: asyncio.Future[None] | None = None
        self._ended: Exception | None = None

    @property
    def ended(self) -> bool:
        """Whether no further event will come."""
        return self._ended is not None

    def prefill(self, events: Iterable[Event]) -> None:
        """Put what the reader starts with (it does not count against the limit)."""
        before = len(self._buffer)
        self._buffer.extend(events)
        self._room += len(self._buffer) - before

    def offer(self, change: Change) -> None:
        """Take the change if it is selected; too many waiting end the watch."""
        event = self.select(change)
        if event is None or self._ended:
            return
        if len(self._buffer) >= self._room:
            self._buffer.clear()
            self.end(Expired(
                f"too old resource version: the watch fell {self._room} events behind; list again"
            ))  # fmt: skip
            return
        self._buffer.append(event)
        self._wake()

    def end(self, error: Exception) -> None:
        """Let the reader have what waits, then the error."""
        self._ended = self._ended or error
        self._wake()

    async def take(self, seconds: float | None = None) -> list[Event]:
        """All events that wait, at least one; after that many seconds an empty list.

        Raises:
            Expired: the watch ended; the reader has to list again.
        """
        if not self._buffer and self._ended is None:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = None if seconds is None else loop.call_later(seconds, self._wake)
            try:
                await self._waiter
            finally:
                self._waiter = None
                if timer:
                    timer.cancel()
        if not self._buffer and self._ended is not None:
            raise self._ended
        events, self._buffer = self._buffer, []
        self._room = self._limit
        return events

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
            return Event(EventType.DELETED, last, orjson.dumps(last), record.version)
        return None


def restamp(obj: Object, version: int) -> Object:
    """The same object with another resourceVersion; the original stays as it is."""
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}}


class Hub:
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
        self._bytes[key.resource] += len(past.data)
        while len(history) > self._limit or self._bytes[key.resource] > HISTORY_BYTES:
            dropped = history.popleft()
            self._bytes[key.resource] -= len(dropped.data)
            self._floor[key.resource] = dropped.version
        if watchers := self._watchers.get(key.resource):
            for watcher in watchers:
                self._offer(watcher, change)
            if any(watcher.ended for watcher in watchers):
                self._watchers[key.resource] = [w for w in watchers if not w.ended]

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

    def end_all(self, error: Exception) -> None:
        """End every watch (the store closes)."""
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.end(error)
        self._watchers.clear()
