"""Transactions: reads from several threads, writes from one, many writes to a commit.

Laws:

1. ``write`` returns only after the commit that holds the write; what it returned is durable.
2. Writes happen one after the other, in the order of their calls, and none beside another
   process'. Those that wait together share a commit, each in a savepoint of its own: a failing
   one undoes itself alone.
3. A read sees one committed state from its first statement to its last.
4. When the commit itself fails (disk full), every write of it is done again alone, so that one
   that still fits is stored and the others' callers get the error. A write's function may hence
   run twice: it works on the connection it is given and nothing else.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from sqlalchemy import URL, Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from bessemer.base import logs
from bessemer.database import schema
from bessemer.database.engine import explain, is_about_all, open_engine
from bessemer.database.errors import DatabaseError, DiskFull

T = TypeVar("T")

_log = logs.get(__name__)

_READERS = 4  # threads
_BATCH = 256  # writes to a commit


@dataclass
class _Write:
    """A write on its way, and where its caller waits."""

    fn: Callable[[Connection], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    frees: bool
    result: Any = None
    error: BaseException | None = None

    def run(self, connection: Connection) -> None:
        """Do the write among others.

        Its own failure undoes it and is kept for its caller; the database's failure is raised:
        after it (a full disk) SQLite may have ended the whole transaction.
        """
        self.result, self.error = None, None
        try:
            with connection.begin_nested():
                self.result = self.fn(connection)
        except Exception as error:
            if is_about_all(error):
                raise
            self.error = error

    def settle(self) -> None:
        """Tell the caller (on its event loop); one that stopped waiting is not told."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(_translate(self.error))
        else:
            self.future.set_result(self.result)


def _translate(error: BaseException) -> BaseException:
    """Errors of the database's state become ours; constraint errors stay what they are."""
    return explain(error) if isinstance(error, DBAPIError) and is_about_all(error) else error


class Database:
    """One SQL database: ``start``, then ``read`` and ``write``, then ``close``.

    Args:
        url: ``sqlite:////absolute/path.db`` or ``postgresql://user@host/name``; as an object where
            the path may hold ``?``.
        make_room: gives up room that is kept for a full disk; whether there was some. It is
            called on the writer's thread.
    """

    def __init__(self, url: str | URL, make_room: Callable[[], bool] | None = None) -> None:
        self._make_room = make_room
        self._read_engine = open_engine(url, writer=False)
        self._write_engine = open_engine(url, writer=True)
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="database-read")
        self._writes: SimpleQueue[_Write | None] = SimpleQueue()
        self._writer = threading.Thread(target=self._run, name="database-write", daemon=True)
        self._open = False

    async def start(self) -> None:
        """Create or upgrade the tables, then take reads and writes.

        Raises:
            DatabaseError: the file can't be opened, or a newer program wrote it.
        """
        await asyncio.to_thread(self._prepare)
        self._writer.start()
        self._open = True

    def _prepare(self) -> None:
        try:
            schema.prepare(self._write_engine)
        except DBAPIError as error:
            raise explain(error) from error

    async def close(self) -> None:
        """Finish the writes that wait, then let go of the files."""
        if self._open:
            self._open = False
            self._writes.put(None)
            await asyncio.to_thread(self._writer.join)
        self._readers.shutdown()
        self._read_engine.dispose()
        self._write_engine.dispose()

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """Run a function over one consistent state; it must not write."""
        self._check_open()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._read, fn)

    def _read(self, fn: Callable[[Connection], T]) -> T:
        try:
            with self._read_engine.connect() as connection:
                return fn(connection)
        except DBAPIError as error:
            raise _translate(error) from error

    async def write(self, fn: Callable[[Connection], T], *, frees: bool = False) -> T:
        """Run a function in a transaction and return its result once it is committed.

        The function may run twice (see the laws). A caller that is cancelled while waiting does
        not undo the write. One that ``frees`` room gets what is kept for a full disk.

        Raises:
            DatabaseError: the database could not do it; nothing of it is stored.
        """
        self._check_open()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._writes.put(_Write(fn, loop, future, frees))
        return await future

    def _check_open(self) -> None:
        if not self._open:
            raise DatabaseError(
                "the database must be started before use; it is not, or was closed"
            )

    def _run(self) -> None:
        """The writer's thread: take what waits, commit it, tell the callers."""
        stop = False
        while not stop:
            batch: list[_Write] = []
            item = self._writes.get()
            while item is not None:
                batch.append(item)
                if len(batch) == _BATCH:
                    break
                try:
                    item = self._writes.get_nowait()
                except Empty:
                    break
            stop = item is None
            item = None  # the next may come in hours, and rows may be large
            if batch:
                self._commit(batch)

    def _commit(self, batch: list[_Write]) -> None:
        together = len(batch) > 1 and self._commit_together(batch)
        if not together:
            for write in batch:
                self._commit_alone(write)
                if write.frees and write.error is not None and self._has_made_room(write.error):
                    self._commit_alone(write)
        by_loop: dict[asyncio.AbstractEventLoop, list[_Write]] = {}
        for write in batch:
            by_loop.setdefault(write.loop, []).append(write)
        for loop, writes in by_loop.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, writes)

    def _has_made_room(self, error: BaseException) -> bool:
        is_full = isinstance(_translate(error), DiskFull)
        return is_full and self._make_room is not None and self._make_room()

    def _commit_together(self, batch: list[_Write]) -> bool:
        """One transaction for all; False when the database refused it, and nothing is stored."""
        try:
            with self._write_engine.begin() as connection:
                for write in batch:
                    write.run(connection)
        except SQLAlchemyError as error:  # also of a connection that was lost on the way
            reason = getattr(error, "orig", error)  # the driver's words, without the statement
            _log.warning("a shared commit failed", extra=logs.fields(reason=reason))
            return False
        return True

    def _commit_alone(self, write: _Write) -> None:
        write.result, write.error = None, None
        try:
            with self._write_engine.begin() as connection:
                write.result = write.fn(connection)
        except Exception as error:  # noqa: BLE001 - it belongs to the write's caller
            write.error = error


def _settle(writes: list[_Write]) -> None:
    for write in writes:
        write.settle()
