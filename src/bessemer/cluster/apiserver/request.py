"""One HTTP exchange over raw ASGI: what was asked, read once; how it is answered.

No framework stands between: the API server's rows of figures are made here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote

import orjson
import yaml

from bessemer.cluster.apiserver import protobuf
from bessemer.kinds.kind import Object
from bessemer.kube import yamlshape
from bessemer.kube.access import User
from bessemer.kube.client import PatchType
from bessemer.kube.errors import BadRequest, TooLarge, UnsupportedMediaType

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_LIMIT = 3 * 1024 * 1024  # bytes, as upstream
# YAML takes long to read: what is bigger has to come as JSON, and what is small is read at once.
_YAML_LIMIT = 128 * 1024
_SMALL_YAML = 8 * 1024
# Values are built by recursion in C, where too deep is the end of the process.
_YAML_LEVELS = 240
# So few can't nest too deep for our JSON writer.
_SAFE_BRACKETS = 200

_APPLY = PatchType.APPLY.value
JSON_TYPE = b"application/json"
_INT64 = 2**63


# Identity comes from the token alone: what a client says of itself never reaches an app of ours.
_IDENTITY_HEADERS = (b"kubeflow-userid", b"kubeflow-groups", b"x-remote-", b"impersonate-",
                     b"x-forwarded-user", b"x-goog-authenticated-user")  # fmt: skip


def without_identity(scope: Scope) -> Scope:
    """The scope without headers in which a client claims to be somebody."""
    kept = [
        (name, value)
        for name, value in scope["headers"]
        if not name.lower().startswith(_IDENTITY_HEADERS)
    ]
    return {**scope, "headers": kept}


class Answer(NamedTuple):
    """A whole response."""

    body: bytes
    status: int = 200
    headers: Iterable[tuple[bytes, bytes]] = ()
    content_type: bytes = JSON_TYPE


def answer_json(obj: Any, status: int = 200) -> Answer:
    """A response with an object of ours."""
    return Answer(orjson.dumps(obj), status)


class ApiRequest:
    """A request and the way to answer it."""

    __slots__ = (
        "_query", "_send", "body", "headers", "is_begun", "method", "path", "receive", "scope",
        "user",
    )  # fmt: skip

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self._send = send
        self.is_begun = False  # whether anything of the answer was sent
        self.user = User("system:anonymous")
        self.receive = receive
        self.body = b""  # of read_object
        self._query: dict[str, str] | None = None

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Send a part of the answer."""
        self.is_begun = True
        await self._send(message)

    def rebase(self, path: str) -> Scope:
        """The scope as an app behind a prefix sees it."""
        scope = without_identity(self.scope)
        return {**scope, "path": path, "raw_path": quote(path).encode(), "root_path": ""}

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters; of a repeated one the first."""
        if self._query is None:
            text = self.scope["query_string"].decode("latin-1")
            pairs = parse_qsl(text, keep_blank_values=True) if text else []
            self._query = dict(reversed(pairs))
        return self._query

    def flag(self, name: str) -> bool:
        """Whether a parameter is there and doesn't say no.

        Source: k8s.io/apimachinery pkg/runtime/converter.go.
        """
        return self.query.get(name, "false").lower() not in ("false", "0")

    def number(self, name: str) -> int | None:
        """A parameter that must be a whole number; None when absent."""
        text = self.query.get(name)
        if not text:
            return None
        try:
            number = int(text)
        except ValueError as error:
            raise BadRequest(
                f'unable to convert query parameter {name}: "{text[:80]}" is no whole number'
            ) from error
        if not -_INT64 <= number < _INT64:
            raise BadRequest(f"unable to convert query parameter {name}: value out of range")
        return number

    @property
    def token(self) -> str | None:
        """The bearer token."""
        scheme, _, token = self.headers.get(b"authorization", b"").partition(b" ")
        return token.strip().decode("latin-1") if scheme.lower() == b"bearer" and token else None

    @property
    def accept(self) -> bytes:
        """What the client wants to read."""
        return self.headers.get(b"accept", b"")

    @property
    def content_type(self) -> str:
        """The body's media type, without parameters."""
        return self.headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip()

    async def read(self) -> bytes:
        """The body, whole. Raises TooLarge, BadRequest."""
        if int(self.headers.get(b"content-length", b"0")) > BODY_LIMIT:
            raise _too_large()
        message = await self._receive_piece()
        body: bytes = message.get("body", b"")
        if not message.get("more_body"):
            return body
        pieces = [body]
        size = len(body)
        while message.get("more_body"):
            message = await self._receive_piece()
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > BODY_LIMIT:
                raise _too_large()
        return b"".join(pieces)

    async def _receive_piece(self) -> MutableMapping[str, Any]:
        message = await self.receive()
        if message["type"] == "http.disconnect":
            # Half a request is none: what came of it may mean something else.
            raise BadRequest("the client hung up before its request was whole")
        return message

    async def read_object(self) -> Object:
        """The body as a JSON object. Raises BadRequest, TooLarge, UnsupportedMediaType."""
        self.body = await self.read()
        value = await self.parse(self.body)
        if not isinstance(value, dict):
            raise BadRequest(
                "the object provided is unrecognized (must be of type Object): "
                f"got {type(value).__name__}"
            )
        if type(value.get("metadata", {})) not in (dict, type(None)):
            raise BadRequest("metadata must be an object")
        return value

    async def parse(self, body: bytes) -> Any:
        """The value in a body; YAML, which takes long, beside the event loop. As ``parse``."""
        if len(body) > _SMALL_YAML and "yaml" in self.content_type:
            return await asyncio.to_thread(parse, body, self.content_type)
        return parse(body, self.content_type)

    async def until_disconnected(self) -> None:
        """Wait for the client's end (only after the body was read)."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def answer(self, answer: Answer) -> None:
        """Send a whole response."""
        body = answer.body
        if b"pretty" in self.scope["query_string"] and answer.content_type == JSON_TYPE:
            body = self._prettify(body)
        headers = [
            (b"content-type", answer.content_type),
            (b"content-length", b"%d" % len(body)),
            *answer.headers,
        ]
        await self.send(
            {"type": "http.response.start", "status": answer.status, "headers": headers}
        )
        await self.send({"type": "http.response.body", "body": body})

    def _prettify(self, body: bytes) -> bytes:
        if not self.flag("pretty"):
            return body
        return orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2)

    async def begin(self, content_type: bytes) -> None:
        """Begin a stream."""
        headers = [(b"content-type", content_type), (b"cache-control", b"no-cache, private")]
        await self.send({"type": "http.response.start", "status": 200, "headers": headers})

    async def write(self, data: bytes) -> None:
        """Send a piece of the stream."""
        await self.send({"type": "http.response.body", "body": data, "more_body": True})

    async def pipe(self, pieces: AsyncIterator[bytes]) -> None:
        """Send all pieces and end the stream; let go of them when the client hangs up."""
        writing = asyncio.ensure_future(self._write_all(pieces))
        hangup = asyncio.ensure_future(self.until_disconnected())
        try:
            await asyncio.wait((writing, hangup), return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                await writing
        finally:
            for task in (writing, hangup):
                task.cancel()
            await asyncio.gather(writing, hangup, return_exceptions=True)

    async def _write_all(self, pieces: AsyncIterator[bytes]) -> None:
        async for piece in pieces:
            await self.write(piece)
        await self.end()

    async def end(self) -> None:
        """End the stream."""
        await self.send({"type": "http.response.body", "body": b"", "more_body": False})


def _too_large() -> TooLarge:
    return TooLarge(f"Request entity too large: limit is {BODY_LIMIT}")


def parse(body: bytes, content_type: str) -> Any:
    """The value that a body of that media type holds. Raises BadRequest, UnsupportedMediaType."""
    if content_type == _APPLY and body.lstrip()[:1] == b"{":
        # What clients send: JSON, which is YAML too, and takes little time to read.
        content_type = "application/json"
    if content_type in ("application/yaml", "text/yaml", "application/x-yaml", _APPLY):
        return _parse_yaml(body)
    if content_type == protobuf.CONTENT_TYPE:
        return protobuf.decode(body)
    # Python's and curl's habits: a body without a type, or "*/*", is JSON.
    if content_type and content_type != "*/*" and "json" not in content_type:
        raise UnsupportedMediaType(
            "the body of the request was in an unknown format - accepted media types include: "
            f"application/json, application/yaml (got {content_type})"
        )
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"couldn't get version/kind; json parse error: {error}") from error
    _check_depth(body, value)
    return value


def _check_depth(body: bytes, value: Any) -> None:
    """Refuse what nests so deep that it could not be written again, not even inside a Table."""
    if body.count(b"[") + body.count(b"{") <= _SAFE_BRACKETS:
        return
    try:
        orjson.dumps([[[[[[[[value]]]]]]]])
    except orjson.JSONEncodeError as error:
        raise BadRequest("the body nests too deep: flatten it to 240 levels or less") from error


class _Loader(yaml.CSafeLoader):
    """YAML as upstream reads it: what looks like a date or a number of base 60 is text."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        tag = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]  # types-pyyaml
        is_text = tag == _DATE or (tag in _NUMBERS and ":" in value)
        return self.DEFAULT_SCALAR_TAG if is_text else tag


_DATE = "tag:yaml.org,2002:timestamp"
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def _parse_yaml(body: bytes) -> Any:
    if len(body) > _YAML_LIMIT:
        raise TooLarge(f"a YAML body may have {_YAML_LIMIT} bytes; send bigger ones as JSON")
    try:
        _check_shape(body)
        value = yaml.load(body, _Loader)
        # Through JSON, so that keys are strings and depth is checked like any other body's.
        data = orjson.dumps(value)
    except (yaml.YAMLError, TypeError, RecursionError, ValueError) as error:
        raise BadRequest(f"error converting YAML to JSON: {error}") from error
    found: Any = orjson.loads(data)
    _check_depth(data, found)
    return found


def _check_shape(body: bytes) -> None:
    """Refuse aliases (a few lines of them unfold to gigabytes) and what nests too deep."""
    shape = yamlshape.survey(body, _Loader, depth=_YAML_LEVELS)
    if shape.has_aliases:
        raise BadRequest("YAML aliases are not supported: write the value out")
    if shape.depth > _YAML_LEVELS:
        raise BadRequest(f"the body nests too deep: flatten it to {_YAML_LEVELS} levels")
