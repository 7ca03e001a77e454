"""Artifacts in a store of objects: S3, GCS, Azure, or memory, through ``obstore``.

``obstore`` comes with the extra ``bessemer[objects]``: only who picks this place imports it.

A folder is what some object's key begins with, so that an empty one isn't there. Keys begin with
the namespace. Pods don't see the objects: a launcher in them copies.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from itertools import chain

import obstore
from obstore.exceptions import InvalidPathError, PreconditionError
from obstore.store import ObjectStore

from bessemer.artifacts.store import (
    Attachment,
    ClaimPath,
    Elsewhere,
    Entry,
    EntryKind,
    Foreign,
    Missing,
    TooLarge,
    Unreadable,
    shorten,
)
from bessemer.artifacts.volume import split

# Where the SDK looks for the files of a scheme's URIs. Source: kfp/dsl/types/artifact_types.py.
_MOUNTS = {"s3://": "/s3", "gs://": "/gcs", "minio://": "/minio"}
_MINIO = "minio://"
_VOLUME = "artifacts"
_PIECE = 1 << 20  # bytes


class BucketStore:
    """The artifacts of each namespace under its own name in a bucket.

    Args:
        objects: the bucket, or a part of it that has a prefix.
        base: how URIs begin that mean its top: ``s3://``, ``gs://`` or ``minio://``, a bucket, and
            a prefix. The SDK knows no other schemes: what is in Azure is called ``minio://``.
    """

    def __init__(self, objects: ObjectStore, base: str) -> None:
        scheme = next((one for one in _MOUNTS if base.startswith(one)), "")
        if not scheme or base.endswith("/") or base == scheme:
            raise ValueError(
                f"the base of artifacts' URIs must be s3://, gs:// or minio:// and a bucket, but "
                f"got {base!r}"
            )
        self._objects = objects
        self._scheme = scheme
        self._base = base

    def root(self, namespace: str) -> str:
        """See the port."""
        return f"{self._base}/{namespace}"

    def place(self, namespace: str, uri: str) -> str:
        """See the port; ``minio://bucket/path`` is what has that name in the namespace."""
        return "/".join((self.root(namespace), *self._split(namespace, uri)))

    def attach(self, namespace: str, folder: str) -> Attachment:
        """See the port; the folder is the pod's own, and a launcher copies."""
        self.place(namespace, folder)
        mount = _MOUNTS[self._scheme]

        def to_path(uri: str) -> str:
            inside = uri.removeprefix(self._scheme)
            return f"{mount}/{inside}" if uri.startswith(self._scheme) else uri

        return Attachment(
            volumes=[{"name": _VOLUME, "emptyDir": {}}],
            mounts=[{"name": _VOLUME, "mountPath": mount}],
            path=to_path,
        )

    def find_claim(self, namespace: str, uri: str) -> ClaimPath | None:
        """See the port; objects are in no claim."""
        return None

    async def prepare(self, namespace: str) -> None:
        """See the port; a bucket needs nothing."""

    async def lay_out(self, namespace: str, folders: Collection[str]) -> Mapping[str, str]:
        """See the port; folders come with what is in them."""
        for uri in folders:
            self._key(namespace, uri)
        return {}

    async def read_files(
        self, namespace: str, folder: str, names: Collection[str], most: int
    ) -> Mapping[str, bytes | None]:
        """See the port."""
        found: dict[str, bytes | None] = {}
        for name in names:
            try:
                file = await self.open(namespace, f"{folder}/{name}")
            except Missing:
                found[name] = None
                continue
            if file.size > most:
                raise TooLarge(f"{name} must not be larger than {most} bytes, but has {file.size}")
            found[name] = b"".join([piece async for piece in file.read(range(file.size))])
        return found

    async def find(self, namespace: str, uri: str) -> Entry | None:
        """See the port."""
        key = self._key(namespace, uri)
        if (meta := await self._head(key)) is not None:
            return Entry("", EntryKind.FILE, meta["size"])
        async for _ in self._below(key):
            return Entry("", EntryKind.FOLDER, 0)
        return None

    async def list(self, namespace: str, uri: str) -> AsyncIterator[Entry]:
        """See the port."""
        key = self._key(namespace, uri)
        if (meta := await self._head(key)) is not None:
            yield Entry("", EntryKind.FILE, meta["size"])
            return
        is_there = False
        async for meta in self._below(key):
            is_there = True
            path = meta["path"].removeprefix(f"{key}/")
            yield Entry(path, EntryKind.FILE, meta["size"])
        if not is_there:
            raise Missing(f"{uri} can't be read: no object's key begins with it")

    async def open(self, namespace: str, uri: str) -> BucketArtifact:
        """See the port."""
        key = self._key(namespace, uri)
        if (meta := await self._head(key)) is None:
            async for _ in self._below(key):
                raise Unreadable(f"artifact {uri!r} must be a file, but is a folder")
            raise Missing(f"artifact {uri!r} can't be read: there is no such object")
        return BucketArtifact(self._objects, meta)

    async def write(self, namespace: str, uri: str, pieces: AsyncIterator[bytes]) -> None:
        """See the port.

        What a killed writer has sent of a large file is no object, but takes room until the
        bucket's own rule for unfinished uploads ends it.
        """
        key = self._key(namespace, uri)
        async for _ in self._below(key):
            raise Unreadable(f"{uri} can't be written: a folder is there")
        with _told(uri):
            await obstore.put_async(self._objects, key, pieces)

    async def delete(self, namespace: str, uri: str) -> None:
        """See the port."""
        key = self._key(namespace, uri)
        if "/" not in key:
            raise Elsewhere(
                f"{uri!r} is all that namespace {namespace} has; only what is in it is deleted"
            )
        below = [meta["path"] async for meta in self._below(key)]
        for path in chain(below, (key,)):
            with contextlib.suppress(FileNotFoundError):
                await obstore.delete_async(self._objects, path)

    async def _head(self, key: str) -> obstore.ObjectMeta | None:
        try:
            with _told(key):
                return await obstore.head_async(self._objects, key)
        except FileNotFoundError:
            return None

    async def _below(self, key: str) -> AsyncIterator[obstore.ObjectMeta]:
        async for batch in obstore.list(self._objects, prefix=f"{key}/"):
            for meta in batch:
                yield meta

    def _key(self, namespace: str, uri: str) -> str:
        return "/".join((namespace, *self._split(namespace, uri)))

    def _split(self, namespace: str, uri: str) -> Sequence[str]:
        root = self.root(namespace)
        if uri == root or uri.startswith(f"{root}/"):
            return split(f"{_MINIO}{uri.removeprefix(root)}")
        if uri.startswith(_MINIO):
            return split(uri)
        if uri.startswith(f"{self._base}/"):
            raise Elsewhere(f"{shorten(uri)} is in no place of namespace {namespace}; {root} is")
        raise Foreign(
            f"{shorten(uri)} is of another sort of store; give a URI in {root}, or "
            "minio://bucket/path, which is a folder in there"
        )


class BucketArtifact:
    """A version of an object, which is read part by part."""

    def __init__(self, objects: ObjectStore, meta: obstore.ObjectMeta) -> None:
        self._objects = objects
        self._key = meta["path"]
        self._etag = meta["e_tag"]
        self.size = meta["size"]
        self.version = (self._etag or f"{meta['last_modified'].timestamp()}").strip('"')

    async def read(self, span: range) -> AsyncIterator[bytes]:
        """See the port; an object that was replaced meanwhile is ``Unreadable``."""
        if not span or span.start >= self.size:
            return
        with _told(self._key):
            options: obstore.GetOptions = {
                "range": (span.start, min(span.stop, self.size)),
                "if_match": self._etag,
            }
            found = await obstore.get_async(self._objects, self._key, options=options)
            async for piece in found.stream(min_chunk_size=_PIECE):
                yield bytes(piece)

    def close(self) -> None:
        """See the port; nothing is held between reads."""


class BucketLogs:
    """A ``LogArchive`` in a bucket, apart from what artifacts are in."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    async def keep(self, run_id: str, name: str, pieces: AsyncIterator[bytes]) -> None:
        """See the port."""
        await obstore.put_async(self._objects, f"{run_id}/{name}.log", pieces)

    async def read(
        self, run_id: str, name: str, *, tail_lines: int | None = None
    ) -> AsyncIterator[bytes]:
        """See the port."""
        key = f"{run_id}/{name}.log"
        try:
            meta = await obstore.head_async(self._objects, key)
        except FileNotFoundError:
            raise Missing(f"no log of pod {name} of run {run_id} is kept") from None
        start = 0 if tail_lines is None else await self._find_tail(key, meta["size"], tail_lines)
        async for piece in BucketArtifact(self._objects, meta).read(range(start, meta["size"])):
            yield piece

    async def _find_tail(self, key: str, size: int, lines: int) -> int:
        """Where the last lines begin."""
        at, left = max(size - 1, 0), lines  # the last line's own end begins no other
        while at and left:
            start = max(at - _PIECE, 0)
            found = await obstore.get_range_async(self._objects, key, start=start, end=at)
            piece = bytes(found)
            place = len(piece)
            while (place := piece.rfind(b"\n", 0, place)) >= 0:
                left -= 1
                if not left:
                    return start + place + 1
            at = start
        return 0 if lines else size

    async def forget(self, run_id: str) -> None:
        """See the port."""
        async for batch in obstore.list(self._objects, prefix=f"{run_id}/"):
            for meta in batch:
                with contextlib.suppress(FileNotFoundError):
                    await obstore.delete_async(self._objects, meta["path"])


@contextlib.contextmanager
def _told(uri: str) -> Iterator[None]:
    """Tell what is final of the library's errors as the port does."""
    try:
        yield
    except PreconditionError:
        raise Unreadable(f"{uri} was replaced since it was opened; open it again") from None
    except InvalidPathError as error:
        raise Unreadable(f"{uri} can't be the name of an object: {error}") from None
