"""The client over https: any Kubernetes API, with a bearer token or a client certificate.

A watch is one streaming request: it ends when the server ends it, and its reader (an informer)
begins another one where it stopped.
"""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import httpx
import orjson

from bessemer.base.errors import BessemerError
from bessemer.kinds.kind import Kind, Object
from bessemer.kube.client import (
    EVERYTHING,
    DeleteOptions,
    EventType,
    ObjectList,
    PatchType,
    Selection,
    WatchEvent,
)
from bessemer.kube.errors import ApiError, ServiceUnavailable, from_status

_JSON = {"Content-Type": "application/json"}
_REQUEST_SECONDS = 60.0
# A watch may be silent for as long as nothing happens.
_WATCH_TIMEOUT = httpx.Timeout(_REQUEST_SECONDS, read=None)
# Where a pod finds its own identity.
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class HttpClient:
    """``kube.client.Client`` over https.

    Args:
        server: "https://127.0.0.1:6443", with a path before /api if there is one.
        token: sent as bearer token; empty for none.
        tls: whom to trust and, for a client certificate, who we are; None: the system's CAs.
    """

    def __init__(self, server: str, token: str = "", tls: ssl.SSLContext | None = None) -> None:
        headers = {"Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._server = server
        self._http = httpx.AsyncClient(
            base_url=server,
            headers=headers,
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
        found = await self._ask(
            "GET", path(kind, selection.namespace), params=_parameters(selection)
        )
        head = {"apiVersion": kind.api_version, "kind": kind.kind}
        # Upstream's lists leave the type out of each item.
        items = [{**head, **item} for item in found.get("items") or ()]
        return ObjectList(items, found["metadata"]["resourceVersion"])

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
            "GET", path(kind, selection.namespace), params=params, timeout=_WATCH_TIMEOUT
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

    async def delete(
        self, kind: Kind, name: str, namespace: str = "", options: DeleteOptions | None = None
    ) -> None:
        """Ask for the object's end."""
        body = orjson.dumps(_delete_body(options or DeleteOptions()))
        await self._ask("DELETE", path(kind, namespace, name), content=body, headers=_JSON)

    async def _ask(self, method: str, where: str, **parts: Any) -> Object:
        try:
            response = await self._http.request(method, where, **parts)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
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


def from_kubeconfig(config: Mapping[str, Any]) -> HttpClient:
    """A client for the current context of a kubeconfig (already parsed).

    Raises:
        BessemerError: it names what it does not have, or wants a login that we don't do.
    """
    context = _named(config, "contexts", "context", config.get("current-context", ""))
    cluster = _named(config, "clusters", "cluster", context.get("cluster", ""))
    user = _named(config, "users", "user", context.get("user", ""))
    for unknown in ("exec", "auth-provider"):
        if unknown in user:
            raise BessemerError(
                f"the kubeconfig's user {context.get('user')!r} logs in by {unknown}, which is "
                "not supported: use a token or a client certificate"
            )
    tls = _trust(cluster)
    if certificate := _material(user, "client-certificate"):
        _present(tls, certificate, _material(user, "client-key"))
    token = user.get("token", "")
    if not token and (file := user.get("tokenFile")):
        token = Path(file).read_text().strip()
    return HttpClient(cluster["server"], token, tls)


def from_pod(folder: Path = SERVICE_ACCOUNT) -> HttpClient:
    """A client as the service account of the pod that we run in."""
    host = os.environ["KUBERNETES_SERVICE_HOST"]
    port = os.environ["KUBERNETES_SERVICE_PORT"]
    tls = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return HttpClient(server, (folder / "token").read_text().strip(), tls)


def trust(ca: str) -> ssl.SSLContext:
    """TLS that trusts only this CA (PEM)."""
    return ssl.create_default_context(cadata=ca)


def _named(config: Mapping[str, Any], section: str, key: str, name: str) -> Mapping[str, Any]:
    for entry in config.get(section) or ():
        if entry.get("name") == name:
            return cast("Mapping[str, Any]", entry.get(key) or {})
    raise BessemerError(f"the kubeconfig has no entry {name!r} in {section}: name one that it has")


def _trust(cluster: Mapping[str, Any]) -> ssl.SSLContext:
    ca = _material(cluster, "certificate-authority")
    tls = ssl.create_default_context(cadata=ca.decode() if ca else None)
    if cluster.get("insecure-skip-tls-verify"):
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    return tls


def _material(entry: Mapping[str, Any], key: str) -> bytes:
    if data := entry.get(f"{key}-data"):
        return base64.b64decode(data)
    return Path(entry[key]).read_bytes() if entry.get(key) else b""


def _present(tls: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    # The ssl module takes files only; the folder is ours alone and goes at once.
    with tempfile.TemporaryDirectory() as folder:
        chain = Path(folder) / "client.pem"
        chain.touch(mode=0o600)
        chain.write_bytes(certificate + b"\n" + key)
        tls.load_cert_chain(chain)


def _parameters(selection: Selection) -> dict[str, str]:
    params = {"labelSelector": selection.labels, "fieldSelector": selection.fields}
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
