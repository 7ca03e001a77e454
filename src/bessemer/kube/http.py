"""The client over https: any Kubernetes API, with a bearer token or a client certificate.

A watch is one streaming request: it ends when the server ends it, and its reader (an informer)
begins another one where it stopped.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Protocol, cast
from urllib.parse import quote

import httpx
import orjson

from bessemer.base.clock import Clock, SystemClock, format_time
from bessemer.base.errors import BessemerError
from bessemer.kinds.kind import Kind, Object
from bessemer.kinds.pod import POD
from bessemer.kube.client import (
    EVERYTHING,
    WHOLE_LOG,
    DeleteOptions,
    EventType,
    LogOptions,
    ObjectList,
    PatchType,
    Selection,
    WatchEvent,
)
from bessemer.kube.errors import (
    ApiError,
    Expired,
    ServiceUnavailable,
    Unauthorized,
    from_status,
)

_JSON = {"Content-Type": "application/json"}
_REQUEST_SECONDS = 60.0
# A watch or a followed log may be silent for as long as nothing happens.
_STREAM_TIMEOUT = httpx.Timeout(_REQUEST_SECONDS, read=None)
# Objects to a page of a list: client-go's own.
_PAGE = 500
# How often a read is asked again whose connection broke, and how often a server may say "later".
_TRIES = 3
# The longest that a server may have us wait, whatever it says.
_LONGEST_WAIT_SECONDS = 30.0


# In the class below ``list`` is a verb.
Items = list[Object]


class Credentials(Protocol):
    """Who we are, told anew with each request."""

    async def token(self) -> str:
        """The bearer token now; empty: none."""
        ...

    def reject(self, token: str) -> bool:
        """The API did not take it; whether there may be another one."""
        ...


class StaticToken:
    """A token that stays."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self) -> str:
        """See the port."""
        return self._token

    def reject(self, token: str) -> bool:
        """See the port; there is no other."""
        return False


class _Bearer(httpx.Auth):
    """Puts the token on each request; one that was refused is asked again with the next one."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        token = await self._tell(request)
        response = yield request
        is_refused = response.status_code == httpx.codes.UNAUTHORIZED
        if is_refused and self._credentials.reject(token):
            await self._tell(request)
            yield request

    async def _tell(self, request: httpx.Request) -> str:
        try:
            token = await self._credentials.token()
        except (BessemerError, OSError) as error:  # an informer tries again, as after any refusal
            raise Unauthorized(f"there is no token to show: {error}") from error
        if token:
            request.headers["Authorization"] = f"Bearer {token}"
        return token


class HttpClient:
    """``kube.client.Client`` over https.

    Args:
        server: "https://127.0.0.1:6443", with a path before /api if there is one.
        credentials: who we are by a bearer token, or that token; empty for none.
        tls: whom to trust and, for a client certificate, who we are; None: the system's CAs.
        clock: for waits that the server asks for.
    """

    def __init__(
        self,
        server: str,
        credentials: Credentials | str = "",
        tls: ssl.SSLContext | None = None,
        clock: Clock | None = None,
    ) -> None:
        headers = {"Accept": "application/json"}
        self._server = server
        self._clock = clock or SystemClock()
        if isinstance(credentials, str):
            credentials = StaticToken(credentials)
        self._http = httpx.AsyncClient(
            base_url=server,
            headers=headers,
            auth=_Bearer(credentials),
            verify=tls or ssl.create_default_context(),
            timeout=_REQUEST_SECONDS,
            # A watch holds its connection: they must not use up the others'.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
            trust_env=False,
        )

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Object:
        """The object; ``NotFound`` when there is none."""
        return await self._ask("GET", path(kind, namespace, name))

    async def list(self, kind: Kind, selection: Selection = EVERYTHING) -> ObjectList:
        """All selected objects at one moment."""
        try:
            items, version = await self._list(kind, selection, _PAGE)
        except Expired:  # it took so long that its moment is forgotten
            items, version = await self._list(kind, selection, 0)
        head = {"apiVersion": kind.api_version, "kind": kind.kind}
        # Upstream's lists leave the type out of each item.
        return ObjectList([{**head, **item} for item in items], version)

    async def _list(self, kind: Kind, selection: Selection, page: int) -> ObjectList:
        """All pages, which are of one moment; 0: it is one page."""
        items: Items = []
        params = _parameters(selection) | ({"limit": str(page)} if page else {})
        while True:
            found = await self._ask("GET", path(kind, selection.namespace), params=params)
            items += found.get("items") or ()
            rest = found["metadata"].get("continue")
            if not rest:
                return ObjectList(items, found["metadata"]["resourceVersion"])
            params["continue"] = rest

    async def watch(
        self, kind: Kind, selection: Selection = EVERYTHING, *, since: str
    ) -> AsyncIterator[WatchEvent]:
        """Changes after that resourceVersion, until the server ends the request.

        Raises:
            Expired: that is too old.
        """
        params = {
            **_parameters(selection),
            "watch": "true",
            "resourceVersion": since,
            "allowWatchBookmarks": "true",
        }
        request = self._http.build_request(
            "GET", path(kind, selection.namespace), params=params, timeout=_STREAM_TIMEOUT
        )
        try:
            response = await self._http.send(request, stream=True)
            try:
                if response.status_code != httpx.codes.OK:
                    raise _error(response.status_code, await response.aread())
                async for line in _lines(response):
                    yield _event(line)
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    async def create(self, kind: Kind, obj: Object, *, dry_run: bool = False) -> Object:
        """Store a new object (its namespace from metadata) and return it as stored."""
        where = path(kind, obj["metadata"].get("namespace", ""))
        params = {"dryRun": "All"} if dry_run else None
        return await self._ask(
            "POST", where, content=orjson.dumps(obj), headers=_JSON, params=params
        )

    async def update(self, kind: Kind, obj: Object, *, subresource: str = "") -> Object:
        """Replace the object; with ``subresource="status"`` only its status."""
        metadata = obj["metadata"]
        where = path(kind, metadata.get("namespace", ""), metadata["name"], subresource)
        return await self._ask("PUT", where, content=orjson.dumps(obj), headers=_JSON)

    async def patch(
        self,
        kind: Kind,
        name: str,
        namespace: str,
        patch: Any,
        *,
        patch_type: PatchType = PatchType.MERGE,
        subresource: str = "",
    ) -> Object:
        """Change parts of the object and return it as stored."""
        where = path(kind, namespace, name, subresource)
        headers = {"Content-Type": patch_type.value}
        return await self._ask("PATCH", where, content=orjson.dumps(patch), headers=headers)

    async def apply(
        self, kind: Kind, obj: Object, *, manager: str, force: bool = False, subresource: str = ""
    ) -> Object:
        """Have the object hold what is stated, owned by the manager."""
        metadata = obj["metadata"]
        where = path(kind, metadata.get("namespace", ""), metadata["name"], subresource)
        params = {"fieldManager": manager, "force": "true" if force else "false"}
        stated = {"apiVersion": kind.api_version, "kind": kind.kind, **obj}
        headers = {"Content-Type": PatchType.APPLY.value}
        return await self._ask(
            "PATCH", where, content=orjson.dumps(stated), headers=headers, params=params
        )

    async def delete(
        self, kind: Kind, name: str, namespace: str = "", options: DeleteOptions | None = None
    ) -> None:
        """Ask for the object's end."""
        body = orjson.dumps(_delete_body(options or DeleteOptions()))
        await self._ask("DELETE", path(kind, namespace, name), content=body, headers=_JSON)

    async def logs(
        self, name: str, namespace: str, options: LogOptions = WHOLE_LOG
    ) -> AsyncIterator[bytes]:
        """The bytes of a container's log, in pieces."""
        request = self._http.build_request(
            "GET",
            path(POD, namespace, name, "log"),
            params=_log_parameters(options),
            timeout=_STREAM_TIMEOUT,
        )
        try:
            response = await self._http.send(request, stream=True)
            try:
                if response.status_code != httpx.codes.OK:
                    raise _error(response.status_code, await response.aread())
                yield b""
                async for piece in response.aiter_bytes():
                    yield piece
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    async def _ask(self, method: str, where: str, **parts: Any) -> Object:
        """A request and its answer; asked again where that can do no harm.

        Source: client-go rest/request.go: 429 and Retry-After, reads whose connection broke.
        """
        left = _TRIES
        while True:
            left -= 1
            try:
                response = await self._http.request(method, where, **parts)
            except httpx.TransportError as error:
                if method == "GET" and left and not isinstance(error, httpx.ConnectError):
                    continue
                raise self._unreachable(error) from error
            wait = _wait_seconds(response)
            if wait is not None and left:
                await self._clock.sleep(wait)
                continue
            if response.status_code >= httpx.codes.BAD_REQUEST:
                raise _error(response.status_code, response.content)
            return cast(Object, orjson.loads(response.content))

    def _unreachable(self, error: httpx.TransportError) -> ServiceUnavailable:
        why = str(error) or type(error).__name__
        return ServiceUnavailable(f"the API at {self._server} does not answer: {why}")


def path(kind: Kind, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """Where a kind's objects are: ``/apis/apps/v1/namespaces/default/deployments/web/status``."""
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    place = f"/namespaces/{namespace}" if kind.namespaced and namespace else ""
    # A role's name may have almost any sign in it.
    rest = "".join(f"/{quote(part, safe=':')}" for part in (name, subresource) if part)
    return f"{root}{place}/{kind.plural}{rest}"


def trust(ca: str) -> ssl.SSLContext:
    """TLS that trusts only this CA (PEM)."""
    return ssl.create_default_context(cadata=ca)


def _parameters(selection: Selection) -> dict[str, str]:
    params = {"labelSelector": selection.labels, "fieldSelector": selection.fields}
    return {key: value for key, value in params.items() if value}


def _wait_seconds(response: httpx.Response) -> float | None:
    """For how long the server has us wait before the request is asked again; None: it is not."""
    if response.status_code != httpx.codes.TOO_MANY_REQUESTS:
        return None
    told = response.headers.get("Retry-After", "")
    return min(float(told), _LONGEST_WAIT_SECONDS) if told.isdecimal() else None


def _log_parameters(options: LogOptions) -> dict[str, str]:
    params = {
        "container": options.container,
        "follow": "true" if options.follow else "",
        "previous": "true" if options.previous else "",
        "timestamps": "true" if options.timestamps else "",
        "sinceTime": format_time(options.since) if options.since else "",
        "tailLines": "" if options.tail_lines is None else str(options.tail_lines),
        "limitBytes": "" if options.limit_bytes is None else str(options.limit_bytes),
    }
    return {key: value for key, value in params.items() if value}


def _delete_body(options: DeleteOptions) -> Object:
    body: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
    if options.propagation:
        body["propagationPolicy"] = options.propagation
    if options.grace_seconds is not None:
        body["gracePeriodSeconds"] = options.grace_seconds
    wanted = {"uid": options.uid, "resourceVersion": options.resource_version}
    if preconditions := {key: value for key, value in wanted.items() if value}:
        body["preconditions"] = preconditions
    return body


async def _lines(response: httpx.Response) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in response.aiter_bytes():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line


def _event(line: bytes) -> WatchEvent:
    event = orjson.loads(line)
    if event["type"] == "ERROR":
        status = event["object"]
        raise from_status(status, int(status.get("code") or 500))
    return WatchEvent(EventType(event["type"]), event["object"])


def _error(code: int, body: bytes) -> ApiError:
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        status = {"message": body.decode(errors="replace")[:200]}
    return from_status(status if isinstance(status, dict) else {}, code)
