"""The control plane's volume over HTTP, for launchers: an ASGI app over any ``ArtifactStore``.

Who asks shows a token (``tokens``), and reaches what it grants.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from bessemer.artifacts import protocol
from bessemer.artifacts.store import (
    ArtifactStore,
    Entry,
    OpenArtifact,
    TooLarge,
    Unauthenticated,
    Unreadable,
)
from bessemer.artifacts.tokens import Grant, Tokens
from bessemer.base.errors import BessemerError

LARGEST_BYTES = 1 << 40  # of one file that is taken
_BYTES = "bytes="


class ArtifactsFace:
    """Reads and writes for who has a token.

    Args:
        store: what is served.
        tokens: who may reach what.
        largest: bytes of one file that is taken.
    """

    def __init__(
        self, store: ArtifactStore, tokens: Tokens, *, largest: int = LARGEST_BYTES
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._largest = largest
        self._app = Starlette(
            routes=[
                Route(protocol.FILES, self.read, methods=["GET"]),
                Route(protocol.FILES, self.write, methods=["PUT"]),
                Route(protocol.FILES, self.delete, methods=["DELETE"]),
                Route(protocol.ENTRY, self.find, methods=["GET"]),
                Route(protocol.LISTING, self.list, methods=["GET"]),
                Route(protocol.FOLDERS, self.lay_out, methods=["POST"]),
            ],
            exception_handlers={BessemerError: _show, ClientDisconnect: _gone},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        await self._app(scope, receive, send)

    async def _admit(self, request: Request, *, write: bool = False) -> tuple[Grant, str]:
        grant = await self._identify(request)
        uri = request.query_params.get("uri", "")
        return grant, grant.check(self._store, uri, write=write)

    async def _identify(self, request: Request) -> Grant:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated("a request for artifacts needs the bearer token of its run")
        grant = self._tokens.recognize(token.strip())
        await self._store.prepare(grant.namespace)
        return grant

    async def read(self, request: Request) -> Response:
        """A file, or a part of it; of HEAD its size and version alone."""
        grant, uri = await self._admit(request)
        file = await self._store.open(grant.namespace, uri)
        try:
            headers = {"ETag": f'"{file.version}"'}
            _check_version(request.headers.get("if-match", ""), headers["ETag"])
            span = _read_span(request.headers.get("range", ""), file.size)
        except BaseException:
            file.close()
            raise
        if request.method == "HEAD":
            file.close()
            return Response(headers={**headers, "Content-Length": str(file.size)})
        headers["Content-Length"] = str(len(span))
        return _Streamed(file, span, headers)

    async def write(self, request: Request) -> Response:
        """Put a file; what is not sent whole is not put."""
        grant, uri = await self._admit(request, write=True)
        await self._store.write(grant.namespace, uri, self._bounded(request.stream()))
        return Response(status_code=204)

    async def _bounded(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        total = 0
        async for piece in pieces:
            total += len(piece)
            if total > self._largest:
                raise TooLarge(f"a file must not be larger than {self._largest} bytes")
            yield piece

    async def delete(self, request: Request) -> Response:
        """Delete a file or a folder."""
        grant, uri = await self._admit(request, write=True)
        await self._store.delete(grant.namespace, uri)
        return Response(status_code=204)

    async def find(self, request: Request) -> Response:
        """What is at a URI."""
        grant, uri = await self._admit(request)
        found = await self._store.find(grant.namespace, uri)
        return JSONResponse(found and {"kind": found.kind, "size": found.size})

    async def list(self, request: Request) -> Response:
        """All files of a folder."""
        grant, uri = await self._admit(request)
        entries = self._store.list(grant.namespace, uri)
        first = await anext(entries, None)  # what can't be listed at all is told by the status
        return StreamingResponse(_lines(first, entries), media_type="application/x-ndjson")

    async def lay_out(self, request: Request) -> Response:
        """Make folders."""
        grant = await self._identify(request)
        given = request.query_params.getlist("uri")
        folders = [grant.check(self._store, uri, write=True) for uri in given]
        return JSONResponse(dict(await self._store.lay_out(grant.namespace, folders)))


class _Streamed(StreamingResponse):
    """Bytes of a file, which is closed however the answer ends."""

    def __init__(self, file: OpenArtifact, span: range, headers: dict[str, str]) -> None:
        whole = len(span) == file.size
        super().__init__(file.read(span), 200 if whole else 206, headers)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()


async def _lines(first: Entry | None, rest: AsyncIterator[Entry]) -> AsyncIterator[bytes]:
    if first is None:
        return
    yield _line(first)
    try:
        async for entry in rest:
            yield _line(entry)
    except BessemerError as error:  # the status is sent already
        yield orjson.dumps(protocol.tell(error)[1]) + b"\n"


def _line(entry: Entry) -> bytes:
    return orjson.dumps({"path": entry.path, "size": entry.size}) + b"\n"


def _check_version(wanted: str, etag: str) -> None:
    if wanted and wanted != etag:
        raise Unreadable("the file was replaced since it was opened; open it again")


def _read_span(header: str, size: int) -> range:
    """The part that our own client asks for: ``bytes=FIRST-LAST``, both given."""
    first, _, last = header.removeprefix(_BYTES).partition("-")
    if not header.startswith(_BYTES) or not (first + last).isdecimal() or not first or not last:
        return range(size)
    return range(min(int(first), size), min(int(last) + 1, size))


async def _show(_: Request, error: Exception) -> Response:
    assert isinstance(error, BessemerError)
    status, document = protocol.tell(error)
    return JSONResponse(document, status)


async def _gone(_: Request, _error: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it
