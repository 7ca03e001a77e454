"""Acknowledged is durable: how SQLite is set, which no crash of a process can show."""

from pathlib import Path

from bessemer.cluster.store.file import ObjectFile

FULL = 2


def test_a_commit_is_on_the_disk_before_it_is_told(tmp_path: Path) -> None:
    file = ObjectFile(tmp_path / "objects.db")
    try:
        # A setting of the connection, not of the file: only it can tell.
        assert file._db.execute("PRAGMA synchronous").fetchone() == (FULL,)
        assert file._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    finally:
        file.close()
