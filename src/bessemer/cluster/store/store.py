"""The store: what is committed in memory, what is pending beside it, one writer thread.

Writes are decided on the event loop against the pending state, so a conflict is found before the
disk is asked. All writes that come while a batch is on its way to the disk share the next one.

A batch that the disk has no room for is tried again without what makes new objects: with the room
of the reserve, what deletes and what says how things are gets through.
"""

from __future__ import annotations

import asyncio
import gc
import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, cast

import orjson

from bessemer.base import logs
from bessemer.base.clock import Clock
from bessemer.base.errors import BessemerError
from bessemer.base.logs import fields
from bessemer.cluster.store.file import Batch, CommitFailed, ObjectFile, Row
from bessemer.cluster.store.records import Change, Key, Record, serialize
from bessemer.cluster.store.reserve import Reserve
from bessemer.cluster.store.watch_cache import WatchCache, Watcher, restamp
from bessemer.kinds.kind import Object
from bessemer.kube.client import EventType
from bessemer.kube.errors import Expired, ServiceUnavailable, TooLarge

_log = logs.get(__name__)

#: Patches may add to an object again and again, and every reader has to take all of it.
OBJECT_BYTES = 3 * 1024 * 1024
# An object that grows by no more than this takes no room worth the name: a pod's last status, a
# deletion's time.
_FRUGAL_BYTES = 16 * 1024
#: How long a change can be watched afterwards, at least. As upstream's watch cache
#: (cacher's eventFreshDuration).
FRESH_SECONDS = 75.0


class Codec(Protocol):
    """How a resource's objects look at rest. ``key`` binds the bytes to their place."""

    def seal(self, key: str, data: bytes) -> bytes:
        """The bytes that are written to the file for an object."""
        ...

    def unseal(self, key: str, data: bytes) -> bytes:
        """What came out of it; raises BessemerError when it was tampered with."""
        ...


class _Job(NamedTuple):
    loop: asyncio.AbstractEventLoop
    batch: Batch
    from_reserve: bool  # the disk is full, and it needs little


@dataclass(slots=True, eq=False)
class _Write:
    record: Record
    row: Row | None  # None: it is removed
    done: asyncio.Future[Record]


class Store:
    """All objects. Every method belongs to one event loop.

    Args:
        path: the SQLite file.
        codecs: by resource ("secrets"), for what must not lie open in the file.
        max_pages: see ``ObjectFile``.
        reserve: room for what must get through on a full disk.

    Raises:
        BessemerError: the file can't be used.
    """

    def __init__(
        self,
        path: Path,
        codecs: Mapping[str, Codec] | None = None,
        max_pages: int | None = None,
        reserve: Reserve | None = None,
    ) -> None:
        self._codecs = dict(codecs or {})
        self._file = ObjectFile(path, max_pages)
        self._reserve = reserve
        self._is_reserved = bool(reserve and reserve.make())
        self._tables: dict[str, dict[str, dict[str, Record]]] = {}
        self._load()
        # Never 0, which means "any version" where a client says it.
        self._version = self._given = max(self._file.read_version(), 1)
        self._hub = WatchCache(self._version)
        self._pending: dict[Key, _Write] = {}
        self._queue: list[_Write] = []
        self._writing: list[_Write] = []
        self._scheduled = self._closed = False
        self._failure = ""  # why nothing is stored now
        self._idle: asyncio.Future[None] | None = None
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_batches, name="store", daemon=True)
        self._thread.start()

    @property
    def version(self) -> int:
        """The resourceVersion of the last committed write."""
        return self._version

    # ---- reads: committed state only

    def get(self, key: Key) -> Record | None:
        """The committed object."""
        try:
            return self._tables[key.resource][key.namespace][key.name]
        except KeyError:
            return None

    def list(self, resource: str, namespace: str = "") -> list[Record]:
        """The committed objects of a namespace ("" = all), sorted by namespace and name."""
        table = self._tables.get(resource, {})
        if namespace:
            found = list(table.get(namespace, {}).values())
        else:
            found = [record for part in table.values() for record in part.values()]
        found.sort(key=_sort_key)
        return found

    def watch(self, resource: str, watcher: Watcher, since: int) -> None:
        """Give the watcher every change after that version. Raises Expired, Timeout."""
        if self._closed:
            raise _closed()
        self._hub.attach(resource, watcher, since)

    def unwatch(self, resource: str, watcher: Watcher) -> None:
        """Forget the watcher."""
        self._hub.detach(resource, watcher)

    def end_watches(self, resource: str) -> None:
        """End every watch of a resource that is served no more."""
        self._hub.end_of(resource, Expired(f"{resource} is not served any more"))

    def compact(self, version: int) -> None:
        """Forget what watches could replay up to that version; see ``WatchCache.compact``."""
        self._hub.compact(version)

    async def run_compaction(self, clock: Clock) -> None:
        """Forget what was longer ago than watches need to come back, for ever."""
        version = self.version
        while True:
            await clock.sleep(FRESH_SECONDS)
            self.compact(version)
            version = self.version

    # ---- writes: decided on the latest state, answered when committed

    def latest(self, key: Key) -> Record | None:
        """The object as the writes on their way will leave it."""
        write = self._pending.get(key)
        if write is None:
            return self.get(key)
        return write.record if write.row else None

    def latest_of(self, resource: str) -> Sequence[Record]:
        """The resource's objects as the writes on their way will leave them, in no order."""
        known = {
            record.key: record
            for part in self._tables.get(resource, {}).values()
            for record in part.values()
        }
        for key, write in self._pending.items():
            if key.resource != resource:
                continue
            if write.row is None:
                known.pop(key, None)
            else:
                known[key] = write.record
        return list(known.values())

    async def quiet(self, key: Key) -> None:
        """Return when no write of the key is on its way that was when this was called."""
        write = self._pending.get(key)
        if write is not None:
            await asyncio.wait((write.done,))

    async def settle(self, record: Record) -> Record:
        """The record once it is committed (at once if it already is)."""
        write = self._pending.get(record.key)
        if write is not None and write.record is record:
            return await asyncio.shield(write.done)
        return record

    def put(self, key: Key, obj: Object) -> asyncio.Future[Record]:
        """Store the object, new or changed; it gets its resourceVersion here.

        The object becomes the store's: the caller must not touch it any more. The future raises
        ServiceUnavailable when the batch could not be written.

        Raises:
            TooLarge: it has more than OBJECT_BYTES as JSON.
        """
        version = self._next()
        obj["metadata"]["resourceVersion"] = str(version)
        data = serialize(obj)
        if len(data) > OBJECT_BYTES:
            raise TooLarge(
                f"Request entity too large: limit is {OBJECT_BYTES}: {key} would have {len(data)} "
                "bytes; divide it"
            )
        return self._submit(Record(key, version, obj, data), gone=False)

    def remove(self, record: Record) -> asyncio.Future[Record]:
        """Delete the object; the future gives its last state with the deletion's version."""
        version = self._next()
        last = restamp(record.object, version)
        return self._submit(Record(record.key, version, last, serialize(last)), gone=True)

    async def close(self) -> None:
        """Finish the writes on their way, end the watches, let go of the file."""
        if self._closed:
            return
        self._closed = True
        if self._queue or self._writing:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle
        self._hub.end_all(Expired("the API server stops; list again when it is back"))
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        self._file.close()
        if self._reserve:
            self._reserve.make()  # of what the log had: the next start may need it

    # ---- the way of a batch

    def _next(self) -> int:
        if self._closed:
            raise _closed()
        self._given += 1
        return self._given

    def _submit(self, record: Record, *, gone: bool) -> asyncio.Future[Record]:
        loop = asyncio.get_running_loop()
        # Sealed here, so that what can't be sealed fails its own caller and nobody else.
        write = _Write(record, None if gone else self._row(record), loop.create_future())
        self._pending[record.key] = write
        self._queue.append(write)
        if not self._writing and not self._scheduled:
            # Not at once: whoever else is ready in this round of the loop joins the batch.
            self._scheduled = True
            loop.call_soon(self._dispatch, loop)
        return write.done

    def _dispatch(self, loop: asyncio.AbstractEventLoop, *, from_reserve: bool = False) -> None:
        self._scheduled = False
        self._writing, self._queue = self._queue, []
        final = {write.record.key: write for write in self._writing}
        put = [write.row for write in final.values() if write.row]
        gone = [key for key, write in final.items() if write.row is None]
        batch = Batch(put, gone, self._writing[-1].record.version)
        self._jobs.put(_Job(loop, batch, from_reserve))

    def _row(self, record: Record) -> Row:
        codec = self._codecs.get(record.key.resource)
        data = codec.seal(str(record.key), record.data) if codec else record.data
        return Row(record.key, record.object["metadata"].get("uid", ""), record.version, data)

    def _write_batches(self) -> None:
        while (job := self._jobs.get()) is not None:
            failure = None
            try:
                self._write_batch(job)
            except CommitFailed as error:
                failure = error
            except Exception as error:  # noqa: BLE001 - a dead writer would leave all waiting
                _log.exception("batch failed")
                failure = CommitFailed(
                    f"the store has a bug ({error}); its log has the traceback"
                )  # fmt: skip
            job.loop.call_soon_threadsafe(self._finish, failure, job)
            del job, failure  # the next may come in hours, and objects may be large

    def _write_batch(self, job: _Job) -> None:
        if job.from_reserve or self._reserve is None:
            self._commit_somehow(job.batch)
            return
        self._file.check_room()
        self._file.commit(job.batch)
        if not self._is_reserved:
            self._is_reserved = self._reserve.make()

    def _commit_somehow(self, batch: Batch) -> None:
        try:
            self._file.commit(batch)
        except CommitFailed as error:
            if not error.is_full or self._reserve is None or not self._is_reserved:
                raise
            self._is_reserved = False
            self._reserve.release()
            self._file.take_room()
            self._file.commit(batch)

    def _finish(self, failure: CommitFailed | None, job: _Job) -> None:
        if failure is None:
            if not job.from_reserve:
                self._tell("")
            for write in self._writing:
                self._apply(write)
        else:
            writes = self._writing + self._queue
            self._queue = []
            if failure.is_full and not job.from_reserve:
                self._queue = [*self._frugal(writes)]
            kept = set(map(id, self._queue))
            # Of the others also those that wait: they were decided on what has just failed.
            self._roll_back([each for each in writes if id(each) not in kept], str(failure))
        self._writing = []
        if self._queue:
            self._dispatch(job.loop, from_reserve=failure is not None)
        elif self._idle:
            self._idle.set_result(None)

    def _frugal(self, writes: Sequence[_Write]) -> Sequence[_Write]:
        """Those that make nothing new: all writes of a key, by what the last one makes of it."""
        final = {write.record.key: write for write in writes}
        keys = {key for key, write in final.items() if self._is_frugal(write)}
        return [write for write in writes if write.record.key in keys]

    def _is_frugal(self, write: _Write) -> bool:
        before = self.get(write.record.key)
        if before is None:
            return False
        uids = {_uid(record) for record in (before, write.record)}
        return write.row is None or (
            len(uids) == 1 and len(write.record.data) <= len(before.data) + _FRUGAL_BYTES
        )

    def _apply(self, write: _Write) -> None:
        record = write.record
        key = record.key
        previous = self.get(key)
        if write.row is None:
            part = self._tables[key.resource][key.namespace]
            part.pop(key.name, None)
            type_ = EventType.DELETED
        else:
            self._place(record)
            type_ = EventType.MODIFIED if previous else EventType.ADDED
        if self._pending.get(key) is write:
            del self._pending[key]
        self._version = record.version
        self._hub.publish(Change(type_, record, previous))
        if not write.done.done():
            write.done.set_result(record)

    def _roll_back(self, failed: Sequence[_Write], failure: str) -> None:
        if failed:
            self._tell(failure)
        for write in failed:
            self._pending.pop(write.record.key, None)
            if not write.done.done():
                write.done.set_exception(
                    ServiceUnavailable(
                        f"the object was not stored: {failure}; make room on the disk or mend it, "
                        "then try again"
                    )
                )
                # Marks it as seen: a caller that was cancelled leaves no warning behind.
                write.done.exception()

    def _tell(self, failure: str) -> None:
        """Log that nothing is stored, or is again: once, each caller gets its own answer."""
        if failure == self._failure:
            return
        self._failure = failure
        if failure:
            _log.error("objects not stored", extra=fields(reason=failure))
        else:
            _log.warning("objects stored again")

    def _load(self) -> None:
        # Hundreds of thousands of dicts at once: the collector would only walk them in vain.
        enabled = gc.isenabled()
        gc.disable()
        try:
            for row in self._file.read():
                self._place(self._parse(row))
        except BessemerError:
            self._file.close()
            raise
        finally:
            if enabled:
                gc.enable()

    def _parse(self, row: Row) -> Record:
        codec = self._codecs.get(row.key.resource)
        data = codec.unseal(str(row.key), row.data) if codec else row.data
        try:
            obj = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise BessemerError(
                f"the stored object {row.key} is no JSON ({error}): the file is damaged; restore "
                "it from a copy, or start with another home"
            ) from error
        return Record(row.key, row.version, cast(Object, obj), data)

    def _place(self, record: Record) -> None:
        resource, namespace, name = record.key
        table = self._tables.get(resource)
        if table is None:
            table = self._tables[resource] = {}
        part = table.get(namespace)
        if part is None:
            part = table[namespace] = {}
        part[name] = record


def _uid(record: Record) -> object:
    return record.object["metadata"].get("uid", "")


def _sort_key(record: Record) -> Key:
    return record.key


def _closed() -> ServiceUnavailable:
    return ServiceUnavailable("the API server is shutting down; try again when it is back")
