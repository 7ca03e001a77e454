"""The HTTP face: paths to the data plane, errors to status codes. Raw ASGI: it is the hot path."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson

from bessemer import __version__
from bessemer.base import logs
from bessemer.base.clock import Clock
from bessemer.base.logs import fields
from bessemer.modelserver import metrics
from bessemer.modelserver.codecs import compression, v1, v2
from bessemer.modelserver.dataplane import DataPlane
from bessemer.modelserver.errors import (
    CallerGone,
    InvalidRequest,
    LoadFailure,
    ModelFailure,
    NotReady,
    NotSupported,
    ServingError,
    TooLarge,
    UnknownModel,
)

_log = logs.get(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

STATUS: dict[type[ServingError], int] = {
    InvalidRequest: 400,
    UnknownModel: 404,
    TooLarge: 413,
    LoadFailure: 422,
    ModelFailure: 500,
    NotSupported: 501,
    NotReady: 503,
    # nginx's word for it; nobody reads it but our own metrics.
    CallerGone: 499,
}
_JSON = b"application/json"
_MOST_DIGITS = 18  # of a length
_PREDICTION = re.compile(r"/v2/models/.+/infer|/v1/models/.+:predict")
_EXTENSIONS = ["binary_tensor_data", "model_repository"]


@dataclass
class Answer:
    """What goes back."""

    body: bytes
    status: int = 200
    content_type: bytes = _JSON
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


@dataclass(frozen=True)
class Call:
    """What came in, and what waits until the caller has hung up."""

    headers: dict[bytes, bytes]
    body: bytes
    gone: Callable[[], Awaitable[object]]


Handler = Callable[[Call], Awaitable[Answer]]


class App:
    """The ASGI application of one model server."""

    def __init__(self, plane: DataPlane, clock: Clock, *, max_body_bytes: int) -> None:
        self.draining = False
        self.asked_at = 0.0  # when somebody last sent a request that isn't a mere look
        self._plane = plane
        self._clock = clock
        self._limit = max_body_bytes
        self._routes = self._make_routes()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; lifespan is acknowledged."""
        if scope["type"] == "lifespan":
            await _acknowledge(receive, send)
            return
        if scope["type"] != "http":
            return
        if self.draining and scope["method"] == "POST":
            self.asked_at = self._clock.monotonic()
        answer = await self._answer(scope, receive)
        headers = [
            (b"content-type", answer.content_type),
            (b"content-length", b"%d" % len(answer.body)),
            *answer.headers,
        ]
        if self.draining:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        body = b"" if scope["method"] == "HEAD" else answer.body
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        path: str = scope["path"]
        try:
            handler = self._find(scope["method"], path)
            headers = dict(scope["headers"])
            body = await self._read(headers, receive)
            answer = await handler(Call(headers, body, partial(_wait_gone, receive)))
        except ServingError as error:
            answer = _refuse(error)
        except Exception:  # noqa: BLE001 - one request's bug must not end the server
            _log.exception("request failed", extra=fields(path=path))
            answer = _refuse(ServingError("the server failed; its log has the reason"))
        else:
            return _compress(answer, headers)
        if _PREDICTION.fullmatch(path):
            self._plane.metrics.count(path[1:3], answer.status)
        return answer

    def _find(self, method: str, path: str) -> Handler:
        methods = self._routes.get(path) or self._routes.get(path.rstrip("/") or "/")
        if methods is None:
            self._explain(path)
            raise UnknownModel(f"nothing is served at {path}")
        handler = methods.get("GET" if method == "HEAD" else method)
        if handler is None:
            raise _WrongMethod(path, method, methods)
        return handler

    def _explain(self, path: str) -> None:
        """Raise the better reason where a path names another model or version."""
        match path.strip("/").split("/"):
            case ["v1", "models", name, *_]:
                self._plane.check(name.partition(":")[0])
            case ["v2", "models", name, "versions", version, *_]:
                self._plane.check(name, version)
            case ["v2", "models", name, *_] | ["v2", "repository", "models", name, *_]:
                self._plane.check(name)
            case _:
                return

    async def _read(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._limit:
            raise self._too_large(int(declared))
        message = await receive()
        body: bytes = message.get("body", b"")
        parts, size = [body], len(body)
        while message.get("more_body") and size <= self._limit:
            message = await receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
        if size > self._limit:  # what has no Content-Length is counted as it comes
            raise self._too_large(size)
        if len(parts) > 1:
            body = b"".join(parts)
        if message["type"] == "http.disconnect":
            raise InvalidRequest("the client went away in the middle of the body")
        if encoding := headers.get(b"content-encoding"):
            return compression.decompress(body, encoding.decode("latin-1"), self._limit)
        return body

    def _too_large(self, size: int) -> TooLarge:
        return TooLarge(
            f"a body must have at most {self._limit} bytes, got {size}; "
            "send fewer rows a request, or raise --max_body_bytes"
        )

    def _make_routes(self) -> dict[str, dict[str, Handler]]:
        name = self._plane.name
        routes: dict[str, dict[str, Handler]] = {
            "/": {"GET": self._alive},
            "/metrics": {"GET": self._metrics},
            "/v1/models": {"GET": self._list},
            f"/v1/models/{name}": {"GET": self._v1_ready},
            f"/v1/models/{name}:predict": {"POST": self._predict},
            f"/v1/models/{name}:explain": {"POST": self._explain_model},
            "/v2": {"GET": self._server},
            "/v2/health/live": {"GET": self._live},
            "/v2/health/ready": {"GET": self._ready},
            "/v2/models": {"GET": self._list},
            "/v2/repository/index": {"POST": self._index},
            f"/v2/repository/models/{name}/load": {"POST": self._load},
            f"/v2/repository/models/{name}/unload": {"POST": self._unload},
        }
        prefixes = [f"/v2/models/{name}"]
        if self._plane.version:
            prefixes.append(f"/v2/models/{name}/versions/{self._plane.version}")
        for prefix in prefixes:
            routes[prefix] = {"GET": self._metadata}
            routes[f"{prefix}/ready"] = {"GET": self._model_ready}
            routes[f"{prefix}/infer"] = {"POST": self._infer}
        return routes

    async def _infer(self, call: Call) -> Answer:
        metrics_, clock = self._plane.metrics, self._clock.monotonic
        start = clock()
        length = call.headers.get(b"inference-header-content-length")
        request = v2.decode(call.body, _length(length))
        metrics_.preprocess.observe(clock() - start)
        response = await self._plane.infer(request, call.gone)
        start = clock()
        body, json_length = v2.encode(response, request)
        metrics_.postprocess.observe(clock() - start)
        metrics_.count("v2", 200)
        if json_length is None:
            return Answer(body)
        header = (b"inference-header-content-length", b"%d" % json_length)
        return Answer(body, content_type=b"application/octet-stream", headers=[header])

    async def _predict(self, call: Call) -> Answer:
        metrics_, clock = self._plane.metrics, self._clock.monotonic
        start = clock()
        signature = self._plane.signature
        request = v1.decode(call.body, signature.feature_names, table=signature.table)
        metrics_.preprocess.observe(clock() - start)
        response = await self._plane.infer(request, call.gone)
        start = clock()
        body = v1.encode(response)
        metrics_.postprocess.observe(clock() - start)
        metrics_.count("v1", 200)
        return Answer(body)

    async def _explain_model(self, call: Call) -> Answer:
        raise NotSupported(f"Model {self._plane.name} has no explainer; ask :predict")

    async def _alive(self, call: Call) -> Answer:
        return _json({"status": "alive"})

    async def _metrics(self, call: Call) -> Answer:
        return Answer(self._plane.metrics.render(), content_type=metrics.CONTENT_TYPE)

    async def _list(self, call: Call) -> Answer:
        return _json({"models": [self._plane.name]})

    async def _server(self, call: Call) -> Answer:
        return _json({"name": "bessemer", "version": __version__, "extensions": _EXTENSIONS})

    async def _live(self, call: Call) -> Answer:
        return _json({"live": True})

    async def _ready(self, call: Call) -> Answer:
        # Of the server, not of the model: one that was unloaded can be loaded again only where
        # requests still come.
        return _json({"ready": not self.draining}, 503 if self.draining else 200)

    @property
    def _takes_requests(self) -> bool:
        return self._plane.ready and not self.draining

    async def _v1_ready(self, call: Call) -> Answer:
        ready = self._takes_requests
        return _json({"name": self._plane.name, "ready": ready}, 200 if ready else 503)

    async def _model_ready(self, call: Call) -> Answer:
        return await self._v1_ready(call)

    async def _metadata(self, call: Call) -> Answer:
        return _json(self._plane.metadata())

    async def _index(self, call: Call) -> Answer:
        # tritonclient sends an empty body.
        wanted = v2.parse(call.body) if call.body.strip() else {}
        return _json(self._plane.index(ready_only=bool(wanted.get("ready", False))))

    async def _load(self, call: Call) -> Answer:
        await self._plane.load()
        return _json({"name": self._plane.name, "load": True})

    async def _unload(self, call: Call) -> Answer:
        self._plane.unload()
        return _json({"name": self._plane.name, "unload": True})


class _WrongMethod(ServingError):
    """The path is served, but not by this method."""

    def __init__(self, path: str, method: str, methods: Iterable[str]) -> None:
        self.allowed = ", ".join(methods)
        super().__init__(f"{path} takes {self.allowed}, got {method}")


STATUS[_WrongMethod] = 405


async def _wait_gone(receive: Receive) -> None:
    """Return when the connection has ended: after its body that is all that a request brings."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _length(header: bytes | None) -> int | None:
    if header is None:
        return None
    if not header.isdigit() or len(header) > _MOST_DIGITS:
        text = header.decode("latin-1")
        raise InvalidRequest(f"Inference-Header-Content-Length must be a number, got {text!r:.40}")
    return int(header)


def _json(value: Any, status: int = 200) -> Answer:
    return Answer(orjson.dumps(value), status)


def _refuse(error: ServingError) -> Answer:
    answer = _json({"error": str(error)}, STATUS.get(type(error), 500))
    if isinstance(error, _WrongMethod):
        answer.headers.append((b"allow", error.allowed.encode()))
    return answer


def _compress(answer: Answer, headers: dict[bytes, bytes]) -> Answer:
    accepted = headers.get(b"accept-encoding")
    if accepted is None or len(answer.body) < compression.MINIMUM_BYTES:
        return answer
    if encoding := compression.choose(accepted.decode("latin-1")):
        answer.body = compression.compress(answer.body, encoding)
        answer.headers.append((b"content-encoding", encoding.encode()))
    return answer


async def _acknowledge(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
