"""Passing a request on to a Service by HTTP, and its answer back: the far half of ``proxy``.

Source: k8s.io/apimachinery pkg/util/proxy.
"""

from __future__ import annotations

import httpx

from bessemer.cluster.apiserver.request import ApiRequest, without_identity
from bessemer.kube.errors import ServiceUnavailable

# Between two parties only, or ours and not the service's business: a browser sends a host's
# cookies to all its ports, the pages' too, and takes cookies of a Service for all of them.
_HOP_HEADERS = frozenset({
    b"authorization", b"clear-site-data", b"connection", b"content-length", b"cookie", b"host",
    b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"set-cookie", b"te", b"trailer",
    b"transfer-encoding", b"upgrade",
})  # fmt: skip
_TIMEOUT = httpx.Timeout(60.0, connect=5.0)


class Forwarder:
    """Holds the connections to Services."""

    def __init__(self) -> None:
        self._client = httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False, verify=False)

    async def forward(self, exchange: ApiRequest, url: str) -> None:
        """Send the request there and the answer back. Raises ServiceUnavailable."""
        query = exchange.scope["query_string"].decode("latin-1")
        sent = without_identity(exchange.scope)["headers"]
        headers = [(n, v) for n, v in sent if n not in _HOP_HEADERS]
        body = await exchange.read()
        request = self._client.build_request(
            exchange.method, f"{url}?{query}" if query else url, headers=headers, content=body
        )
        try:
            response = await self._client.send(request, stream=True)
        except httpx.TransportError as error:
            raise _unreachable(error) from error
        try:
            kept = [
                (n.lower(), v) for n, v in response.headers.raw if n.lower() not in _HOP_HEADERS
            ]
            await exchange.send(
                {"type": "http.response.start", "status": response.status_code, "headers": kept}
            )
            await exchange.pipe(response.aiter_raw())
        except httpx.TransportError as error:
            raise _unreachable(error) from error
        finally:
            await response.aclose()


def _unreachable(error: httpx.TransportError) -> ServiceUnavailable:
    return ServiceUnavailable(f"error trying to reach service: {type(error).__name__}: {error}")
