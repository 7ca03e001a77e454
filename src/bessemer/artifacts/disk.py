"""Artifacts in folders of a disk: what every place on a disk shares.

Each step of a path goes by the descriptor of the folder before it, and through no link: whoever
may write to a folder can change it at any moment, so a path that was checked says nothing of what
it leads to next. What takes no longer than handing it to a thread is done on the event loop: a
step's few small files, the folders of one step.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import posixpath
import secrets
import stat
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from bessemer.artifacts.store import (
    Elsewhere,
    Entry,
    EntryKind,
    Missing,
    NotReady,
    TooLarge,
    Unreadable,
)
from bessemer.base import trees

SMALL_BYTES = 64 << 10  # of all files that are read on the event loop
#: In a namespace's folder: files that are being written. No URI leads there.
DRAFTS = ".drafts"

_PIECE = 1 << 18  # bytes
_DEEPEST = 64  # folders that lie in each other; each level of a walk holds two descriptors
_BATCH = 256  # entries of a walk that one turn of a thread finds
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# What is wrong with a path itself, so that trying again is no use.
_LED_ASTRAY = (errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG)
_NO_FOLDER = (errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST)
_UNREADABLE = (*_LED_ASTRAY, *_NO_FOLDER, errno.EACCES, errno.EPERM, errno.ENXIO)


class DiskStore(ABC):
    """The verbs of ``ArtifactStore`` that are the same wherever on a disk the folders are."""

    @abstractmethod
    def _folder(self, namespace: str) -> str:
        """The folder on the disk that has all that is of the namespace."""

    @abstractmethod
    def _inside(self, namespace: str, uri: str) -> str:
        """Where in that folder the URI leads, as a relative path without "..".

        Raises:
            Elsewhere: it leads to no place of the namespace.
        """

    def _split(self, namespace: str, uri: str) -> tuple[str, Sequence[str]]:
        inside = self._inside(namespace, uri)
        names = [name for name in inside.split("/") if name not in ("", ".")]
        if names and names[0] == DRAFTS:
            raise Elsewhere(f"no artifact is in {DRAFTS!r}, but got {uri!r}; choose another path")
        return self._folder(namespace), names

    async def lay_out(self, namespace: str, folders: Collection[str]) -> Mapping[str, str]:
        """See the port."""
        wanted = {uri: self._split(namespace, uri) for uri in folders}
        if len(wanted) == 1:  # two folders: less work than waking a thread
            return _lay_out(wanted)
        return await asyncio.to_thread(_lay_out, wanted)

    async def read_files(
        self, namespace: str, folder: str, names: Collection[str], most: int
    ) -> Mapping[str, bytes | None]:
        """See the port."""
        root, below = self._split(namespace, folder)
        with _told(folder):
            found = _read_files(root, below, names, most, SMALL_BYTES)
            if found is None:
                found = await asyncio.to_thread(_read_files, root, below, names, most, None)
        assert found is not None, "without a bound all is read"
        return found

    async def find(self, namespace: str, uri: str) -> Entry | None:
        """See the port."""
        root, names = self._split(namespace, uri)
        try:
            with _told(uri), _open_folder(root, names[:-1]) as above:
                # Of the namespace's own folder, which is reached by a link of ours, itself.
                status = os.lstat(names[-1], dir_fd=above) if names else os.fstat(above)
        except Unreadable:
            return None
        return Entry("", _kind(status.st_mode), _size(status))

    async def list(self, namespace: str, uri: str) -> AsyncIterator[Entry]:
        """See the port."""
        root, names = self._split(namespace, uri)
        walk = _walk(root, names)
        try:
            with _told(uri):
                while batch := await asyncio.to_thread(_take, walk):
                    for entry in batch:
                        yield entry
        finally:
            # A thread that is in it still lets go of the descriptors itself.
            with contextlib.suppress(ValueError):
                walk.close()

    async def open(self, namespace: str, uri: str) -> DiskArtifact:
        """See the port."""
        root, names = self._split(namespace, uri)
        with _told(uri):
            return await asyncio.to_thread(_open_artifact, root, names, uri)

    async def write(self, namespace: str, uri: str, pieces: AsyncIterator[bytes]) -> None:
        """See the port."""
        root, names = self._split(namespace, uri)
        with _told(uri):
            if not names:
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            draft = await asyncio.to_thread(_Draft, root)
            try:
                async for piece in pieces:
                    await asyncio.to_thread(draft.write, piece)
                await asyncio.to_thread(draft.publish, root, names)
            finally:
                draft.discard()

    async def delete(self, namespace: str, uri: str) -> None:
        """See the port."""
        root, names = self._split(namespace, uri)
        if not names:
            raise Elsewhere(
                f"{uri!r} is all that namespace {namespace} has; only what is in it is deleted"
            )
        with contextlib.suppress(Missing), _told(uri):
            await asyncio.to_thread(_delete, root, names)

    async def discard_drafts(self, namespace: str) -> None:
        """Delete what a writer that was killed has left; not while anybody writes."""
        with contextlib.suppress(Missing, NotReady), _told(self._folder(namespace)):
            await asyncio.to_thread(_delete, self._folder(namespace), (DRAFTS,))


class DiskArtifact:
    """An open plain file."""

    def __init__(self, descriptor: int, status: os.stat_result) -> None:
        self._descriptor = descriptor
        self.size = status.st_size
        self.version = f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"

    async def read(self, span: range) -> AsyncIterator[bytes]:
        """See the port."""
        at = span.start
        while at < span.stop:
            count = min(_PIECE, span.stop - at)
            piece = await asyncio.to_thread(os.pread, self._descriptor, count, at)
            if not piece:
                return
            at += len(piece)
            yield piece

    def close(self) -> None:
        """See the port."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    # A task that was canceled while a thread opened it never gets it.
    __del__ = close


def relative(path: str, root: str) -> str | None:
    """Where below a folder an absolute path is, as texts; "" for the folder, None: it isn't."""
    if "\0" in path or ".." in path.split("/"):
        return None
    path = posixpath.normpath(path)
    if path == root:
        return ""
    return path.removeprefix(f"{root}/") if path.startswith(f"{root}/") else None


@contextlib.contextmanager
def _told(uri: str) -> Iterator[None]:
    """Tell what is final of the system's errors as the port does."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise Missing(f"{uri} can't be read: {error.strerror}") from None
        if error.errno not in _UNREADABLE:
            raise
        why = error.strerror
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            why = "a link or a file stands where a folder should"
        raise Unreadable(f"{uri} can't be read: {why}") from None


@contextlib.contextmanager
def _open_folder(
    root: str, names: Sequence[str], *, make: bool = False, durable: bool = False
) -> Iterator[int]:
    """The descriptor of a folder below the namespace's own."""
    try:
        # The last step to it may be a link: that one is ours.
        here = os.open(root, _FOLDER & ~os.O_NOFOLLOW)
    except FileNotFoundError:
        raise NotReady(
            f"{root} isn't there, where a namespace's artifacts are kept; it comes with its volume"
        ) from None
    try:
        for name in names:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=here)
                    if durable:
                        os.fsync(here)
            below = os.open(name, _FOLDER, dir_fd=here)
            os.close(here)
            here = below
        yield here
    finally:
        os.close(here)


def _lay_out(wanted: Mapping[str, tuple[str, Sequence[str]]]) -> Mapping[str, str]:
    refused = {}
    for uri, (root, names) in wanted.items():
        try:
            with _open_folder(root, names, make=True):
                pass
        except OSError as error:
            if error.errno not in _LED_ASTRAY:
                raise
            refused[uri] = (
                f"{uri} must be a folder to which no link leads, but {error.strerror}; choose "
                "another, or remove what stands there"
            )
    return refused


def _open_file(folder: int, name: str) -> tuple[int, os.stat_result]:
    """The descriptor of a plain file."""
    try:
        file = os.open(name, _FILE, dir_fd=folder)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise Unreadable(f"{name} must be a plain file, but is a link") from None
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        os.close(file)
        raise Unreadable(f"{name} must be a plain file, but is something else")
    return file, status


def _read_files(
    root: str, below: Sequence[str], names: Collection[str], most: int, bound: int | None
) -> Mapping[str, bytes | None] | None:
    """The files; None when all together have more bytes than the bound."""
    found: dict[str, bytes | None] = {}
    total = 0
    with _open_folder(root, below) as folder:
        for name in names:
            try:
                file, status = _open_file(folder, name)
            except FileNotFoundError:
                found[name] = None
                continue
            with open(file, "rb", buffering=0) as opened:
                total += status.st_size
                if status.st_size > most:
                    raise TooLarge(
                        f"{name} must not be larger than {most} bytes, but has {status.st_size}"
                    )
                if bound is not None and total > bound:
                    return None
                # No more than was looked at: it may grow as it is read.
                found[name] = _read(opened, status.st_size)
    return found


def _read(file: BinaryIO, size: int) -> bytes:
    pieces, left = [], size
    while left and (piece := file.read(left)):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _kind(mode: int) -> EntryKind:
    if stat.S_ISREG(mode):
        return EntryKind.FILE
    return EntryKind.FOLDER if stat.S_ISDIR(mode) else EntryKind.OTHER


def _size(status: os.stat_result) -> int:
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _open_artifact(root: str, names: Sequence[str], uri: str) -> DiskArtifact:
    if not names:
        raise Unreadable(f"artifact {uri!r} must be a file, but is a folder or a device")
    with _open_folder(root, names[:-1]) as above:
        descriptor = os.open(names[-1], _FILE, dir_fd=above)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise Unreadable(f"artifact {uri!r} must be a file, but is a folder or a device")
    return DiskArtifact(descriptor, status)


def _take(walk: Iterator[Entry]) -> list[Entry]:
    return list(itertools.islice(walk, _BATCH))


def _walk(root: str, names: Sequence[str]) -> Generator[Entry, None, None]:
    """The plain files below a folder, or the file itself."""
    with _open_folder(root, names[:-1]) as above:
        if names:
            status = os.lstat(names[-1], dir_fd=above)
            if not stat.S_ISDIR(status.st_mode):
                if stat.S_ISREG(status.st_mode):
                    yield Entry("", EntryKind.FILE, status.st_size)
                return
        top = os.open(names[-1], _FOLDER, dir_fd=above) if names else os.dup(above)
    levels = [_Level(top, "")]
    try:
        while levels:
            if len(levels) > _DEEPEST:
                raise Unreadable(f"folders must lie at most {_DEEPEST} deep, but these lie deeper")
            below = yield from levels[-1].go_on(is_top=not names)
            if below is not None:
                levels.append(below)
            else:
                levels.pop().close()
    finally:
        for level in levels:
            level.close()


class _Level:
    """A folder that a walk is in; it owns the descriptor."""

    def __init__(self, descriptor: int, prefix: str) -> None:
        self._descriptor = descriptor
        self._prefix = prefix
        self._entries = os.scandir(descriptor)

    def go_on(self, *, is_top: bool) -> Generator[Entry, None, _Level | None]:
        """Its files, until a folder comes, which is returned; what goes meanwhile is passed over.

        ``is_top``: the walk began at the namespace's own folder.
        """
        for entry in self._entries:
            path = f"{self._prefix}{entry.name}"
            with contextlib.suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    yield Entry(path, EntryKind.FILE, status.st_size)
                elif stat.S_ISDIR(status.st_mode) and not (is_top and path == DRAFTS):
                    below = os.open(entry.name, _FOLDER, dir_fd=self._descriptor)
                    return _Level(below, f"{path}/")
        return None

    def close(self) -> None:
        """Let go of it."""
        self._entries.close()
        os.close(self._descriptor)


class _Draft:
    """A file that is being written, out of sight until all of it is on the disk. Blocking."""

    def __init__(self, root: str) -> None:
        self._name = secrets.token_hex(16)
        self._drafts = -1
        with _open_folder(root, (DRAFTS,), make=True) as drafts:
            descriptor = os.open(self._name, _NEW_FILE, 0o644, dir_fd=drafts)
            # Its lock keeps the descriptor open while a thread, whose task was canceled, writes.
            self._file = open(descriptor, "wb")  # noqa: SIM115 - discard closes it
            self._drafts = os.dup(drafts)

    def write(self, piece: bytes) -> None:
        """Add to it."""
        self._file.write(piece)

    def publish(self, root: str, names: Sequence[str]) -> None:
        """Have it stand at its place, durably."""
        self._file.flush()
        os.fsync(self._file.fileno())
        with _open_folder(root, names[:-1], make=True, durable=True) as above:
            os.rename(self._name, names[-1], src_dir_fd=self._drafts, dst_dir_fd=above)
            os.fsync(above)

    def discard(self) -> None:
        """Let go of it; what was not published is deleted. Again is as good as once."""
        drafts, self._drafts = self._drafts, -1
        if drafts < 0:
            return
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            os.unlink(self._name, dir_fd=drafts)
        os.close(drafts)

    # A task that was canceled while a thread made it never gets it.
    __del__ = discard


def _delete(root: str, names: Sequence[str]) -> None:
    with _open_folder(root, names[:-1]) as above:
        trees.remove(Path(names[-1]), within=above)
        with contextlib.suppress(FileNotFoundError):
            os.lstat(names[-1], dir_fd=above)
            raise OSError(errno.EBUSY, "not all of it could be deleted")
