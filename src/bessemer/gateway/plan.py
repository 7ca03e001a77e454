"""In which order changes reach Envoy, so that no request is dropped. Pure.

Envoy reads clusters, endpoints and routes each on its own. So what a new route needs is there
before the route, and what an old route needs stays until the route is gone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from bessemer.resources.kind import Object

# Where Envoy says which configuration it follows, and that it answers.
VERSION_PATH = "/-/version"
READY_PATH = "/-/ready"


@dataclass(frozen=True)
class Snapshot:
    """A whole configuration: clusters, endpoints and virtual hosts by name."""

    clusters: Mapping[str, Object] = field(default_factory=dict)
    endpoints: Mapping[str, Object] = field(default_factory=dict)
    hosts: Mapping[str, Object] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """A hash of all of it."""
        text = json.dumps([self.clusters, self.endpoints, self.hosts], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def step(current: Snapshot, wanted: Snapshot) -> Snapshot:
    """What to write next on the way from one configuration to another."""
    if current.hosts == wanted.hosts:
        return wanted
    prepared = Snapshot(
        clusters={**current.clusters, **wanted.clusters},
        # The newest truth of each; of what only the old routes know, the last.
        endpoints={**current.endpoints, **wanted.endpoints},
        hosts=current.hosts,
    )
    if (current.clusters, current.endpoints) != (prepared.clusters, prepared.endpoints):
        return prepared
    return Snapshot(prepared.clusters, prepared.endpoints, wanted.hosts)


def harms_nobody(current: Snapshot, coming: Snapshot) -> bool:
    """Whether Envoy may get it before it follows the current one: nothing in use goes away."""
    return current.hosts == coming.hosts and set(current.clusters) <= set(coming.clusters)


def write_files(snapshot: Snapshot, stripped_headers: tuple[str, ...]) -> dict[str, str]:
    """The snapshot as Envoy's files."""
    version = snapshot.version
    own = [
        _fixed(READY_PATH, '{"ready":true}'),
        _fixed(VERSION_PATH, version),
    ]
    route_configuration = {
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "name": "gateway",
        "ignore_port_in_host_matching": True,
        "request_headers_to_remove": list(stripped_headers),
        "virtual_hosts": [
            {**host, "routes": [*own, *host["routes"]]} for host in snapshot.hosts.values()
        ],
    }
    files = {
        "cds.json": list(snapshot.clusters.values()),
        "rds.json": [route_configuration],
        **{endpoints_file(name): [entry] for name, entry in snapshot.endpoints.items()},
    }
    return {
        name: json.dumps({"version_info": version, "resources": resources}, sort_keys=True)
        for name, resources in files.items()
    }


def endpoints_file(cluster: str) -> str:
    """The file of a cluster's endpoints: Envoy takes one cluster a file."""
    return f"eds.{cluster.replace('/', '_')}.json"


def _fixed(path: str, text: str) -> Object:
    return {
        "match": {"path": path},
        "direct_response": {"status": 200, "body": {"inline_string": text}},
    }


def read_files(files: Mapping[str, str]) -> Snapshot:
    """The snapshot that files were written from; an empty one if they are none of ours."""
    try:
        parts = {name: json.loads(text)["resources"] for name, text in files.items()}
        clusters, routes = parts["cds.json"], parts["rds.json"]
        endpoints = [parts[name][0] for name in sorted(parts) if name.startswith("eds.")]
        hosts = {
            host["name"]: {**host, "routes": host["routes"][2:]}
            for host in routes[0]["virtual_hosts"]
        }
        return Snapshot(
            clusters={entry["name"]: entry for entry in clusters},
            endpoints={entry["cluster_name"]: entry for entry in endpoints},
            hosts=hosts,
        )
    except (KeyError, ValueError, TypeError, IndexError):
        return Snapshot()
