"""The client of ``face``: the control plane's volume as a launcher sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any

import httpx
import orjson

from bessemer.artifacts import protocol
from bessemer.artifacts.store import (
    Elsewhere,
    Entry,
    EntryKind,
    Missing,
    TooLarge,
    Unreadable,
)
from bessemer.artifacts.volume import MinioUris

_BATCH = 20  # folders that one request names


class HttpStore(MinioUris):
    """An ``ArtifactStore`` over HTTP; what may pass is raised as ``httpx.HTTPError``.

    Args:
        http: with the face's address as its base; it stays the caller's.
        tokens: of each namespace that is reached, the token that counts there.
    """

    def __init__(self, http: httpx.AsyncClient, tokens: Mapping[str, str]) -> None:
        self._http = http
        self._tokens = tokens

    async def prepare(self, namespace: str) -> None:
        """See the port; the face has it with each request."""

    async def lay_out(self, namespace: str, folders: Collection[str]) -> Mapping[str, str]:
        """See the port."""
        wanted = [(uri, self.place(namespace, uri)) for uri in folders]
        refused: dict[str, str] = {}
        for at in range(0, len(wanted), _BATCH):
            batch = dict(wanted[at : at + _BATCH])
            request = self._request(namespace, "POST", protocol.FOLDERS, *batch.values())
            told: dict[str, str] = _check(await self._http.send(request)).json()
            refused |= {uri: told[place] for uri, place in batch.items() if place in told}
        return refused

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
            except Unreadable as error:
                raise Unreadable(f"{name} must be a plain file, but {error}") from None
            if file.size > most:
                raise TooLarge(f"{name} must not be larger than {most} bytes, but has {file.size}")
            found[name] = b"".join([piece async for piece in file.read(range(file.size))])
        if not any(found.values()) and await self.find(namespace, folder) is None:
            raise Missing(f"{folder} can't be read: it isn't there")
        return found

    async def find(self, namespace: str, uri: str) -> Entry | None:
        """See the port."""
        request = self._request(namespace, "GET", protocol.ENTRY, self.place(namespace, uri))
        told = _check(await self._http.send(request)).json()
        return told and Entry("", EntryKind(told["kind"]), told["size"])

    async def list(self, namespace: str, uri: str) -> AsyncIterator[Entry]:
        """See the port."""
        request = self._request(namespace, "GET", protocol.LISTING, self.place(namespace, uri))
        answer = await self._http.send(request, stream=True)
        try:
            await _check_stream(answer)
            async for line in _lines(answer):
                told = orjson.loads(line)
                if (error := protocol.read_error(told)) is not None:
                    raise error
                yield Entry(told["path"], EntryKind.FILE, told["size"])
        finally:
            await answer.aclose()

    async def open(self, namespace: str, uri: str) -> HttpArtifact:
        """See the port."""
        place = self.place(namespace, uri)
        answer = await self._http.send(self._request(namespace, "HEAD", protocol.FILES, place))
        if answer.is_error:  # an answer to HEAD has no words
            answer = await self._http.send(self._request(namespace, "GET", protocol.FILES, place))
        _check(answer)
        request = self._request(namespace, "GET", protocol.FILES, place)
        request.headers["If-Match"] = answer.headers["etag"]
        return HttpArtifact(self._http, request, int(answer.headers["content-length"]))

    async def write(self, namespace: str, uri: str, pieces: AsyncIterator[bytes]) -> None:
        """See the port."""
        place = self.place(namespace, uri)
        request = self._request(namespace, "PUT", protocol.FILES, place, content=pieces)
        _check(await self._http.send(request))

    async def delete(self, namespace: str, uri: str) -> None:
        """See the port."""
        request = self._request(namespace, "DELETE", protocol.FILES, self.place(namespace, uri))
        _check(await self._http.send(request))

    def _request(
        self, namespace: str, method: str, path: str, *uris: str, content: Any = None
    ) -> httpx.Request:
        token = self._tokens.get(namespace)
        if token is None:
            raise Elsewhere(f"no token for artifacts of namespace {namespace!r} was given")
        headers = {"Authorization": f"Bearer {token}"}
        params = httpx.QueryParams([("uri", uri) for uri in uris])
        return self._http.build_request(
            method, path, params=params, headers=headers, content=content
        )


class HttpArtifact:
    """A version of a file, which is read part by part."""

    def __init__(self, http: httpx.AsyncClient, request: httpx.Request, size: int) -> None:
        self._http = http
        self._request = request
        self.size = size
        self.version = request.headers["If-Match"].strip('"')

    async def read(self, span: range) -> AsyncIterator[bytes]:
        """See the port; a file that was replaced meanwhile is ``Unreadable``."""
        if not span or span.start >= self.size:
            return
        headers = {**self._request.headers, "Range": f"bytes={span.start}-{span.stop - 1}"}
        answer = await self._http.send(
            httpx.Request("GET", self._request.url, headers=headers), stream=True
        )
        try:
            await _check_stream(answer)
            async for piece in answer.aiter_bytes():
                yield piece
        finally:
            await answer.aclose()

    def close(self) -> None:
        """See the port; nothing is held between reads."""


async def _lines(answer: httpx.Response) -> AsyncIterator[bytes]:
    """The body's lines, which end with a line feed alone: names may have what else parts lines."""
    rest = b""
    async for piece in answer.aiter_bytes():
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line


async def _check_stream(answer: httpx.Response) -> None:
    if answer.is_error:
        await answer.aread()
        _check(answer)


def _check(answer: httpx.Response) -> httpx.Response:
    """Raise what the face told."""
    if answer.is_error:
        try:
            error = protocol.read_error(orjson.loads(answer.content))
        except orjson.JSONDecodeError:
            error = None
        if error is not None:
            raise error
        answer.raise_for_status()
    return answer
