"""What the server says of itself: version, health, discovery, OpenAPI."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import orjson

from bessemer.cluster.apiserver import discovery, openapi
from bessemer.cluster.apiserver.machine import Machine
from bessemer.cluster.apiserver.request import Answer, ApiRequest, answer_json
from bessemer.kinds.kind import Object
from bessemer.kube.errors import MethodNotAllowed, NotFound

#: The Kubernetes whose API this is.
KUBERNETES = "v1.37.2"
#: An OpenAPI v2 document that describes nothing: kubectl reads it for kinds that v3 does not
#: have, and says then that there is no such kind. Source: kubectl pkg/validation.
_OPENAPI_V2 = b"\x0a\x032.0"
_OPENAPI_V2_TYPE = b"application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_HEALTH = ("/healthz", "/livez", "/readyz")


def version_info() -> Object:
    """/version."""
    try:
        ours = version("bessemer")
    except PackageNotFoundError:
        ours = "0"
    return {
        "major": "1",
        "minor": "37",
        "gitVersion": f"{KUBERNETES}+bessemer",
        "gitCommit": f"bessemer-{ours}",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "go1.25",
        "compiler": "gc",
        "platform": "linux/amd64",
    }


class Documents:
    """Serves them; written once for each set of kinds."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._cache: dict[str, Answer] = {}
        self._generation = 0

    def serve(self, exchange: ApiRequest) -> Answer:
        """The document at the exchange's path. Raises NotFound."""
        if exchange.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(
                "the server does not allow this method on the requested resource"
            )
        path = exchange.path.rstrip("/") or "/"
        if path.startswith(_HEALTH):
            return Answer(b"ok", content_type=b"text/plain; charset=utf-8")
        if self._machine.registry.generation != self._generation:
            self._cache.clear()
            self._generation = self._machine.registry.generation
        is_aggregated = discovery.AGGREGATED in exchange.accept and path in ("/api", "/apis")
        key = f"{path} aggregated" if is_aggregated else path
        found = self._cache.get(key)
        if found is None:
            found = self._cache[key] = self._make(path, is_aggregated=is_aggregated)
        return found

    def _make(self, path: str, *, is_aggregated: bool) -> Answer:
        kinds = self._machine.registry.served()
        if is_aggregated:
            found = discovery.aggregated(kinds, core=path == "/api")
            return Answer(orjson.dumps(found), content_type=discovery.AGGREGATED_TYPE)
        if path == "/openapi/v2":
            return Answer(_OPENAPI_V2, content_type=_OPENAPI_V2_TYPE)
        plain: dict[str, Callable[[], Object]] = {
            "/": self._paths,
            "/version": version_info,
            "/api": discovery.core_versions,
            "/apis": lambda: discovery.group_list(kinds),
            "/openapi/v3": lambda: openapi.index(kinds),
        }
        if path in plain:
            return answer_json(plain[path]())
        document = self._find(path.split("/")[1:])
        if document is None:
            raise NotFound("the server could not find the requested resource", {})
        return answer_json(document)

    def _find(self, steps: list[str]) -> Object | None:
        kinds = self._machine.registry.served()
        match steps:
            case ["api", version_]:
                return discovery.resource_list(kinds, "", version_)
            case ["apis", group]:
                return discovery.group(kinds, group)
            case ["apis", group, version_]:
                return discovery.resource_list(kinds, group, version_)
            case ["openapi", "v3", "api", version_]:
                return openapi.document(kinds, "", version_)
            case ["openapi", "v3", "apis", group, version_]:
                return openapi.document(kinds, group, version_)
            case _:
                return None

    def _paths(self) -> Object:
        found = [
            "/api",
            "/api/v1",
            "/apis",
            "/healthz",
            "/livez",
            "/metrics",
            "/openapi/v3",
            "/readyz",
        ]
        for group, versions in discovery.versions(self._machine.registry.served()).items():
            if group:
                found += [f"/apis/{group}", *(f"/apis/{group}/{name}" for name in versions)]
        return {"paths": sorted([*found, "/version"])}
