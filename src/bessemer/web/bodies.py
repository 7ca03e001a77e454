"""Bodies of requests, none larger than a face takes; large ones are read beside the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive

from bessemer.web.errors import InvalidArgument, TooLarge

T = TypeVar("T")
U = TypeVar("U")
_READER = ThreadPoolExecutor(1, "large-body")
_SMALL = 256 * 1024  # bytes
_FIELDS = 16  # of a form


class Limited:
    """The ``receive`` of a body of at most that many bytes, whatever its length said."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive = receive
        self._most = most
        self._seen = 0

    async def __call__(self) -> Message:
        """The next piece.

        Raises:
            TooLarge: it is one too many.
        """
        message = await self._receive()
        self._seen += len(message.get("body", b""))
        if self._seen > self._most:
            raise TooLarge(f"a request's body may have {self._most} bytes, but this one has more")
        return message


async def read_json(request: Request) -> Any:
    """The body as JSON; an empty one is an empty object.

    Raises:
        InvalidArgument: it is no JSON.
    """
    body = await request.body()
    try:
        return orjson.loads(body or b"{}")
    except ValueError as error:
        raise InvalidArgument(f"the request body must be JSON, but it is not: {error}") from error


async def read_form(request: Request, most: int) -> dict[str, str]:
    """A form's fields; an empty one when it is none, has more bytes, or is broken off."""
    body = bytearray()
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > most:
                return {}
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_FIELDS))
    except (ClientDisconnect, ValueError):
        return {}


async def read_beside(read: Callable[[T], U], given: T) -> U:
    """Read text or bytes off the event loop; large ones one by one.

    YAML takes many times its size while it is read.
    """
    if isinstance(given, str | bytes) and len(given) > _SMALL:
        return await asyncio.get_running_loop().run_in_executor(_READER, read, given)
    return await asyncio.to_thread(read, given)
