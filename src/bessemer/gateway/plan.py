"""In which order changes reach Envoy, so that no request is dropped. Pure.

Envoy reads clusters, listeners and routes each on its own. So what a new route or listener needs
is there before it, and what an old one needs stays until it is gone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from bessemer.gateway import guard
from bessemer.kinds.kind import Object

# Where Envoy says which configuration it follows, and that it answers.
VERSION_PATH = "/-/version"
READY_PATH = "/-/ready"
# Where the admin's bearer reads what Envoy itself says that it uses.
CLUSTERS_PATH = "/-/clusters"
LISTENERS_PATH = "/-/listeners"
ADMIN_CLUSTER = "admin"
_DUMPS = {
    CLUSTERS_PATH: "/config_dump?resource=dynamic_active_clusters"
    "&mask=cluster.name,cluster.load_assignment",
    LISTENERS_PATH: "/config_dump?resource=dynamic_listeners"
    "&mask=name,error_state,active_state.version_info",
}


# An address and a port.
Place = tuple[str, int]


@dataclass(frozen=True)
class Snapshot:
    """A whole configuration: clusters (with endpoints), listeners and virtual hosts by name."""

    clusters: Mapping[str, Object] = field(default_factory=dict)
    listeners: Mapping[str, Object] = field(default_factory=dict)
    hosts: Mapping[str, Object] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """A hash of all of it."""
        text = json.dumps([self.clusters, self.listeners, self.hosts], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def users(self) -> tuple[Mapping[str, Object], Mapping[str, Object]]:
        """The parts of the snapshot that send requests to clusters."""
        return self.listeners, self.hosts


@dataclass(frozen=True)
class InUse:
    """What Envoy says that it uses now.

    Attributes:
        version: of the routes.
        clusters: where the endpoints of each are that is warm.
        listeners: those that take connections.
        refused: why others don't.
    """

    version: str
    clusters: Mapping[str, frozenset[Place]]
    listeners: frozenset[str] = frozenset()
    refused: Mapping[str, str] = field(default_factory=dict)

    def follows(self, snapshot: Snapshot) -> bool:
        """Whether nothing of the snapshot is still to come."""
        return (
            self.version == snapshot.version
            and all(
                self.clusters.get(name) == _places(cluster)
                for name, cluster in snapshot.clusters.items()
            )
            and set(snapshot.listeners) <= self.listeners | set(self.refused)
        )


def read_in_use(version: str, clusters: Object, listeners: Object) -> InUse:
    """What Envoy uses, read from its dumps of its configuration."""
    active: set[str] = set()
    refused: dict[str, str] = {}
    for entry in listeners.get("configs") or ():
        error = entry.get("error_state") or {}
        name = entry.get("name") or (error.get("failed_configuration") or {}).get("name", "")
        if "active_state" in entry:
            active.add(name)
        if error:
            refused[name] = error.get("details", "")
    return InUse(
        version,
        {
            entry["cluster"]["name"]: _places(entry["cluster"])
            for entry in clusters.get("configs") or ()
        },
        frozenset(active),
        {name: why for name, why in refused.items() if name not in active},
    )


def _places(cluster: Object) -> frozenset[Place]:
    found = set()
    for group in cluster["load_assignment"].get("endpoints") or ():
        for member in group.get("lb_endpoints") or ():
            place = member["endpoint"]["address"]["socket_address"]
            found.add((place["address"], place["port_value"]))
    return frozenset(found)


def step(current: Snapshot, wanted: Snapshot) -> Snapshot:
    """What to write next on the way from one configuration to another."""
    if current.users == wanted.users:
        return wanted
    # Of each cluster what is newest; one that only the old routes use stays as it was.
    clusters = {**current.clusters, **wanted.clusters}
    if current.clusters != clusters:
        return Snapshot(clusters, *current.users)
    return Snapshot(clusters, *wanted.users)


def harms_nobody(current: Snapshot, coming: Snapshot) -> bool:
    """Whether Envoy may get it before it follows the current one: nothing in use goes away."""
    return current.users == coming.users and set(current.clusters) <= set(coming.clusters)


def write_files(snapshot: Snapshot, stripped_headers: tuple[str, ...]) -> dict[str, str]:
    """The snapshot as Envoy's files."""
    version = snapshot.version
    own = [
        _fixed(READY_PATH, '{"ready":true}'),
        _fixed(VERSION_PATH, version),
        *(_dump(path, source) for path, source in _DUMPS.items()),
    ]
    route_configuration = {
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "name": "gateway",
        "ignore_port_in_host_matching": True,
        "request_headers_to_remove": list(stripped_headers),
        # Nor may a model put one into the browser, where it would count for every port.
        "response_headers_to_remove": ["set-cookie", "clear-site-data"],
        "virtual_hosts": [
            {**host, "routes": [*own, *host["routes"]]} for host in snapshot.hosts.values()
        ],
    }
    files = {
        "cds.json": list(snapshot.clusters.values()),
        "lds.json": list(snapshot.listeners.values()),
        "rds.json": [route_configuration],
    }
    return {
        name: _write({"version_info": version, "resources": resources})
        for name, resources in files.items()
    }


def _write(obj: Object) -> str:
    return json.dumps(obj, sort_keys=True, separators=(",", ":"))


def _fixed(path: str, text: str) -> Object:
    return {
        "match": {"path": path},
        "direct_response": {"status": 200, "body": {"inline_string": text}},
        **guard.OPEN,
    }


def _dump(path: str, source: str) -> Object:
    """A path that shows a part of Envoy's own account."""
    whole = {"pattern": {"regex": ".*"}, "substitution": source}
    only_read = {"name": ":method", "string_match": {"exact": "GET"}}
    return {
        "match": {"path": path, "headers": [only_read]},
        "route": {"cluster": ADMIN_CLUSTER, "regex_rewrite": whole},
    }


def read_files(files: Mapping[str, str]) -> Snapshot:
    """The snapshot that files were written from; an empty one if they are none of ours."""
    try:
        parts = {name: json.loads(text)["resources"] for name, text in files.items()}
        clusters, routes = parts["cds.json"], parts["rds.json"]
        own = 2 + len(_DUMPS)
        hosts = {
            host["name"]: {**host, "routes": host["routes"][own:]}
            for host in routes[0]["virtual_hosts"]
        }
        return Snapshot(
            clusters={entry["name"]: entry for entry in clusters},
            listeners={entry["name"]: entry for entry in parts["lds.json"]},
            hosts=hosts,
        )
    except (KeyError, ValueError, TypeError, IndexError):
        return Snapshot()
