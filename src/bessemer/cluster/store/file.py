"""The SQLite file: opened and judged, read once, then written batch by batch.

A batch is one transaction, durable when ``commit`` returns (WAL, synchronous=FULL).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bessemer.base.errors import BessemerError
from bessemer.cluster.store.records import Key
from bessemer.cluster.store.reserve import allot, trim_log

#: PRAGMA user_version of the file; raised when an older program could not read it any more.
FORMAT = 1
# Rows of one INSERT. Each statement gives the interpreter's lock away once, and getting it back
# from a busy loop costs more than the statement: so a batch is few statements.
ROWS_PER_STATEMENT = 64
# Bytes of a batch from which on it has a connection of its own, closed after it: prepared
# statements are kept for their next use, and each keeps the values that it was last bound to, so
# that those of 64 sizes of batches would hold objects that are long gone.
LARGE_BATCH = 256 * 1024
# Bytes of the write-ahead log that stay on the disk once it is folded into the file.
LOG_BYTES = 8 * 1024 * 1024

# Of the log, when the disk is full: SQLite begins it anew when it has about 4 MiB.
_ALLOTTED_BYTES = 6 * 2**20
# With less than this left nothing new is stored; of a very small disk a share.
_LEAST_BYTES, _LEAST_SHARE = 2**20, 0.02

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    uid TEXT NOT NULL, version INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (resource, namespace, name)
);
-- The counter as the last deletion left it: no object carries that version any more.
CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY CHECK (id = 0), version INTEGER);
"""


_COLUMNS = ("resource", "namespace", "name", "uid", "version", "data")


class Row(NamedTuple):
    """An object as the file keeps it; ``data`` may be sealed."""

    key: Key
    uid: str
    version: int
    data: bytes


class Batch(NamedTuple):
    """What one transaction does: at most one entry a key."""

    put: Sequence[Row]
    gone: Sequence[Key]
    version: int  # the counter after it


class CommitFailed(Exception):
    """The batch was not stored, and nothing of it is in the file; the text says why.

    Attributes:
        is_full: it was for want of room.
    """

    def __init__(self, text: str, *, is_full: bool = False) -> None:
        super().__init__(text)
        self.is_full = is_full


class ObjectFile:
    """The open file. Any thread may use it, one at a time.

    Args:
        path: its folder has to exist.
        max_pages: the most pages of 4 KiB that the file may have; None: what the disk holds.

    Raises:
        BessemerError: the file can't be read or written, or is a newer program's.
    """

    def __init__(self, path: Path, max_pages: int | None = None) -> None:
        self._path = path
        self._max_pages = max_pages
        try:
            self._db = self._connect()
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._db.close()
            raise self._unusable(error) from error
        except BessemerError:
            self._db.close()
            raise

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, cached_statements=256
        )

    def _prepare(self) -> None:
        (found,) = self._db.execute("PRAGMA user_version").fetchone()
        if found > FORMAT:
            raise BessemerError(
                f"{self._path} has format {found}, but this program reads up to {FORMAT}: a newer "
                "Bessemer wrote it; install that version again, or use another home"
            )
        self._check_owner(is_new=not found)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._set_up(self._db)
        self._db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version={FORMAT}; COMMIT;")

    def _check_owner(self, *, is_new: bool) -> None:
        """Refuse another program's file before anything is written to it."""
        names = {name for (name,) in self._db.execute("SELECT name FROM sqlite_schema")}
        columns = tuple(row[1] for row in self._db.execute("PRAGMA table_info(objects)"))
        if names if is_new else columns != _COLUMNS:
            raise BessemerError(
                f"{self._path} must hold the objects of a Bessemer, but is another program's file "
                f"(with {', '.join(sorted(names)[:3]) or 'no tables'}); put back the one that "
                "belongs to this home, or use another home"
            )

    def _set_up(self, db: sqlite3.Connection) -> None:
        db.execute("PRAGMA synchronous=FULL")
        db.execute(f"PRAGMA journal_size_limit={LOG_BYTES}")
        if self._max_pages is not None:
            db.execute(f"PRAGMA max_page_count={self._max_pages:d}")

    def read(self) -> Iterator[Row]:
        """Every object that the file has.

        Raises:
            BessemerError: the file is damaged.
        """
        try:
            rows = self._db.execute(
                "SELECT resource, namespace, name, uid, version, data FROM objects"
            )
            for resource, namespace, name, uid, version, data in rows:
                yield Row(Key(resource, namespace, name), uid, version, data)
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def read_version(self) -> int:
        """The highest version ever given."""
        (version,) = self._db.execute(
            "SELECT max(coalesce((SELECT max(version) FROM objects), 0),"
            " coalesce((SELECT version FROM counter), 0))"
        ).fetchone()
        return int(version)

    def commit(self, batch: Batch) -> None:
        """Store the whole batch, durably.

        Raises:
            CommitFailed: and then nothing of it is stored.
        """
        try:
            if sum(len(row.data) for row in batch.put) < LARGE_BATCH:
                _commit(self._db, batch)
                return
            with contextlib.closing(self._connect()) as db:
                self._set_up(db)
                _commit(db, batch)
        except sqlite3.Error as error:
            raise CommitFailed(f"{error} ({self._path})", is_full=self._is_full(error)) from error

    def check_room(self) -> None:
        """Refuse what is new while there is room for little: the log has some, the file has none.

        Raises:
            CommitFailed: the disk is as good as full.
        """
        disk = shutil.disk_usage(self._path.parent)
        if disk.free < min(_LEAST_BYTES, disk.total * _LEAST_SHARE):
            raise CommitFailed(f"the disk is full ({self._path.parent})", is_full=True)

    def take_room(self) -> None:
        """Get hold of room for commits, now that somebody gave some up, before others do."""
        try:
            log = os.open(f"{self._path}-wal", os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            return
        try:
            # Zeros behind the last frame are none: SQLite reads them as the end of its log.
            allot(log, _ALLOTTED_BYTES)
        except OSError:
            pass  # less will have to do
        finally:
            os.close(log)
        # What grew the file before gets its place in it: only then the log can begin anew.
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _is_full(self, error: sqlite3.Error) -> bool:
        """Whether that is about room; SQLite can't tell when it is its log that has none."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return True
        return code == sqlite3.SQLITE_IOERR and (
            shutil.disk_usage(self._path.parent).free < _ALLOTTED_BYTES
        )

    def close(self) -> None:
        """Fold the log into the file and let go of it."""
        self._db.close()
        # The file may have had no room to grow while the log had all.
        if trim_log(self._path):
            with (
                contextlib.suppress(sqlite3.Error),
                contextlib.closing(sqlite3.connect(self._path)) as again,
            ):
                again.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _unusable(self, error: sqlite3.Error) -> BessemerError:
        text = str(error)
        if "not a database" in text or "malformed" in text:
            return BessemerError(
                f"{self._path} is damaged ({text}); restore it from a copy, or start with "
                "another home"
            )
        if "readonly" in text or "unable to open" in text:
            return BessemerError(
                f"{self._path} can't be written ({text}); make its folder exist and writable, or "
                "use another home"
            )
        return BessemerError(
            f"{self._path} can't be used: {text}; make room if its disk is full, or use another "
            "home"
        )


def _commit(db: sqlite3.Connection, batch: Batch) -> None:
    if not batch.gone and len(batch.put) <= ROWS_PER_STATEMENT:
        _insert(db, batch.put)  # one statement is a transaction of its own
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        for start in range(0, len(batch.put), ROWS_PER_STATEMENT):
            _insert(db, batch.put[start : start + ROWS_PER_STATEMENT])
        db.executemany(
            "DELETE FROM objects WHERE resource=? AND namespace=? AND name=?", batch.gone
        )
        db.execute("REPLACE INTO counter VALUES (0, ?)", (batch.version,))
        db.execute("COMMIT")
    except BaseException:
        # A full disk may have rolled back already.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _insert(db: sqlite3.Connection, rows: Sequence[Row]) -> None:
    if not rows:
        return
    places = ",".join(["(?,?,?,?,?,?)"] * len(rows))
    values: list[object] = []
    for key, uid, version, data in rows:
        values += (*key, uid, version, data)
    db.execute(f"REPLACE INTO objects VALUES {places}", values)
