"""From HTTPRoutes, Services and EndpointSlices to Envoy's clusters, listeners and routes. Pure.

Source: Envoy's API v3 (cluster.proto, listener.proto, route_components.proto); the meaning of
routes: Gateway API, HTTPRoute (``retry``: GEP-1731); of addresses: pkg/proxy.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from bessemer.gateway import guard
from bessemer.gateway.access import CHANGE, Grants, find_model
from bessemer.gateway.plan import Snapshot
from bessemer.kinds import meta
from bessemer.kinds.endpointslice import SERVICE_NAME
from bessemer.kinds.httproute import seconds
from bessemer.kinds.kind import Object

# Longest that an answer may take where the route says nothing.
_TIMEOUT = "300s"
# What only we may say to those behind the gateway, and what is the caller's own: the token, which
# is for us, and all cookies. A browser sends a host's cookies to all its ports, so those of the
# pages come here too, and no client of a model has any of its own.
STRIPPED_HEADERS = (
    "authorization",
    "cookie",
    "proxy-authorization",
    "kubeflow-userid",
    "kubeflow-groups",
    "x-goog-authenticated-user-email",
    "x-auth-request-user",
    "x-auth-request-email",
    "x-auth-request-groups",
    "x-remote-user",
    "x-remote-group",
    "x-forwarded-client-cert",
)
_UNSEEN = "connect-failure,refused-stream,reset-before-request"
_RETRIES = {
    # Only where the server behind has not seen the request.
    "retry_on": _UNSEEN,
    "num_retries": 3,
    "retry_host_predicate": [
        {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3."
                "PreviousHostsPredicate"
            },
        }
    ],
    "host_selection_retry_max_attempts": 3,
    "retry_back_off": {"base_interval": "0.02s", "max_interval": "0.2s"},
}
_MANY = 1_000_000
_LAST_PORT = 65535
# Where no route leads. The guard would call it forbidden otherwise.
_NOWHERE = {
    "match": {"prefix": "/"},
    "direct_response": {
        "status": 404,
        "body": {"inline_string": "no route leads to this host and path"},
    },
    **guard.OPEN,
}


class Backend(NamedTuple):
    """A port of a Service: what becomes a cluster."""

    namespace: str
    service: str
    port: int

    @property
    def cluster(self) -> str:
        """The cluster's name."""
        return f"{self.namespace}/{self.service}/{self.port}"


def render(
    routes: Iterable[Object],
    services: Mapping[tuple[str, str], Object],
    slices: Iterable[Object],
    network: str | None = None,
    grants: Grants | None = None,
) -> Snapshot:
    """The whole configuration.

    Args:
        routes: where requests go.
        services: by namespace and name.
        slices: where the Services' endpoints are.
        network: Services with an address in it are listened for there; None: for none.
        grants: who may take routes beside their namespace's own accounts; None: everyone may.
    """
    ordered = sorted(routes, key=_age)
    backends = {backend for route in ordered for backend in _backends(route)}
    by_service: dict[tuple[str, str], list[Object]] = {}
    for entry in slices:
        service = meta.labels(entry).get(SERVICE_NAME, "")
        by_service.setdefault((meta.namespace(entry), service), []).append(entry)

    def members(backend: Backend) -> list[Object]:
        owner = (backend.namespace, backend.service)
        return _find_members(backend, services.get(owner), by_service.get(owner, []))

    # A port that nobody answers refuses connections, so it is not listened on.
    listeners = [
        listener
        for listener in find_listeners(services.values(), network)
        if members(listener.backend)
    ]
    backends |= {listener.backend for listener in listeners}
    return Snapshot(
        clusters={
            backend.cluster: _make_cluster(backend, members(backend))
            for backend in sorted(backends)
        },
        listeners={listener.name: _make_listener(listener) for listener in listeners},
        hosts=_make_hosts(ordered, grants),
    )


def _age(route: Object) -> tuple[str, str, str]:
    created = route["metadata"].get("creationTimestamp", "")
    return created, meta.namespace(route), meta.name(route)


def _backends(route: Object) -> list[Backend]:
    return [
        Backend(meta.namespace(route), reference["name"], reference["port"])
        for rule in meta.dig(route, "spec.rules") or ()
        for reference in rule.get("backendRefs") or ()
    ]


class ServiceListener(NamedTuple):
    """A Service's own address and port: what becomes a listener."""

    backend: Backend
    address: str

    @property
    def name(self) -> str:
        """The listener's name. With the address: a Service made anew gets another listener."""
        return f"{self.address}:{self.backend.port}"


def find_listeners(services: Iterable[Object], network: str | None) -> list[ServiceListener]:
    """The TCP ports of all Services that have an address in the network."""
    if network is None:
        return []
    inside = ipaddress.ip_network(network)
    found = []
    for service in services:
        address = meta.dig(service, "spec.clusterIP") or "None"
        if address == "None" or ipaddress.ip_address(address) not in inside:
            continue
        found += [
            ServiceListener(
                Backend(meta.namespace(service), meta.name(service), port["port"]), address
            )
            for port in meta.dig(service, "spec.ports") or ()
            if port.get("protocol", "TCP") == "TCP"
        ]
    return sorted(found)


def _make_listener(listener: ServiceListener) -> Object:
    proxy = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "service",
        "cluster": listener.backend.cluster,
        "max_connect_attempts": 3,
        "idle_timeout": "0s",
    }
    address = {"address": listener.address, "port_value": listener.backend.port}
    return {
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": listener.name,
        "address": {"socket_address": address},
        "enable_reuse_port": False,
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}]}
        ],
    }


def _make_cluster(backend: Backend, members: Sequence[Object]) -> Object:
    return {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": backend.cluster,
        # With its endpoints in it: each file that Envoy follows takes one of the 128 inotify
        # instances of a user, and one that is named before it is there fails the whole update.
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": backend.cluster,
            "endpoints": [{"lb_endpoints": list(members)}] if members else [],
        },
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        # The limits are the servers' own; Envoy's defaults (1024, 3 retries) would refuse.
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": _MANY,
                    "max_pending_requests": _MANY,
                    "max_requests": _MANY,
                    "max_retries": 1000,
                }
            ]
        },
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3."
                "HttpProtocolOptions",
                # Shorter than any server's, so that it is never the server who hangs up.
                "common_http_protocol_options": {"idle_timeout": "60s"},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def _find_members(
    backend: Backend, service: Object | None, slices: Sequence[Object]
) -> list[Object]:
    """The ready endpoints of a Service's port, each once."""
    name = _port_name(backend, service)
    if name is None:
        return []
    places = {
        (address, port["port"])
        for entry in slices
        # As kube-proxy: what can't be connected to is passed over. Envoy would take no change at
        # all with such an endpoint in it.
        if entry.get("addressType") != "FQDN"
        for port in entry.get("ports") or ()
        if (port.get("name") or "") == name and 0 < (port.get("port") or 0) <= _LAST_PORT
        for endpoint in entry.get("endpoints") or ()
        if meta.dig(endpoint, "conditions.ready") is not False
        for address in endpoint.get("addresses") or ()
    }
    return [
        {"endpoint": {"address": {"socket_address": {"address": address, "port_value": port}}}}
        for address, port in sorted(places)
    ]


def _port_name(backend: Backend, service: Object | None) -> str | None:
    """The name of the Service's port, by which slices know it; None: it has no such port."""
    for port in meta.dig(service, "spec.ports") or ():
        if port.get("port") == backend.port:
            return port.get("name") or ""
    return None


class _Rule(NamedTuple):
    """One match of one rule."""

    exact: bool
    path: str
    action: Object

    @property
    def takes_all(self) -> bool:
        return not self.exact and self.path == "/"


def _make_hosts(routes: Sequence[Object], grants: Grants | None) -> dict[str, Object]:
    by_host: dict[str, list[_Rule]] = {"*": []}
    for route in routes:
        gate = _make_gate(route, grants)
        rules = [
            rule for spec in route["spec"]["rules"] for rule in _make_rules(route, spec, gate)
        ]
        for host in meta.dig(route, "spec.hostnames") or ["*"]:
            by_host.setdefault(host.lower(), []).extend(rules)
    anyone = by_host["*"]
    hosts: dict[str, Object] = {}
    for host, rules in sorted(by_host.items()):
        if host != "*" and not any(rule.takes_all for rule in rules):
            rules = [*rules, *anyone]
        rules = sorted(rules, key=lambda rule: (not rule.exact, -len(rule.path)))
        entries = [*(rule.action for rule in rules), _NOWHERE]
        # A route's several names become one virtual host: all of it has to fit in a ConfigMap.
        same = hosts.setdefault(json.dumps(entries), {"domains": [], "routes": entries})
        same["domains"].append(host)
    return {host["domains"][0]: {"name": host["domains"][0], **host} for host in hosts.values()}


def _make_gate(route: Object, grants: Grants | None) -> Object:
    """The filter that lets only those pass who may."""
    if grants is None:
        return {}
    namespace, model = meta.namespace(route), find_model(route)
    callers = grants.find_subjects(namespace, model)
    if not model:
        return guard.make_guard(namespace, callers)
    return guard.make_guard(namespace, callers, grants.find_subjects(namespace, model, CHANGE))


def _make_rules(route: Object, spec: Object, gate: Object) -> list[_Rule]:
    action = {**_make_action(route, spec), **gate}
    rules = []
    for match in spec.get("matches") or [{}]:
        path = meta.dig(match, "path.value") or "/"
        exact = meta.dig(match, "path.type") == "Exact"
        if exact:
            found: Object = {"path": path}
        elif path == "/":
            found = {"prefix": "/"}
        else:
            found = {"path_separated_prefix": path.rstrip("/")}
        made = {"match": found, **action}
        rewrite = None if exact else _make_rewrite(spec, path)
        if rewrite is not None and "route" in made:
            made["route"] = {**made["route"], "regex_rewrite": rewrite}
        rules.append(_Rule(exact, path, made))
    return rules


def _make_action(route: Object, spec: Object) -> Object:
    namespace = meta.namespace(route)
    weights = [
        {
            "name": Backend(namespace, reference["name"], reference["port"]).cluster,
            "weight": reference.get("weight", 1),
        }
        for reference in spec.get("backendRefs") or ()
    ]
    if not any(entry["weight"] for entry in weights):
        # Envoy refuses weights that add up to nothing.
        text = f"no version of {namespace}/{meta.name(route)} takes requests yet"
        return {"direct_response": {"status": 503, "body": {"inline_string": text}}}
    return {
        "route": {
            "weighted_clusters": {"clusters": weights},
            "timeout": f"{seconds(meta.dig(spec, 'timeouts.request') or _TIMEOUT):.3f}s",
            "retry_policy": _make_retries(spec.get("retry")),
        }
    }


def _make_retries(asked: Object | None) -> Object:
    """Who asks for retries says that a repetition does no harm: then lost answers count too."""
    if asked is None:
        return _RETRIES
    return {
        **_RETRIES,
        "retry_on": f"{_UNSEEN},reset,retriable-status-codes",
        "retriable_status_codes": list(asked.get("codes") or ()),
        "num_retries": asked.get("attempts", 2),
    }


def _make_rewrite(spec: Object, path: str) -> Object | None:
    for entry in spec.get("filters") or ():
        replacement = meta.dig(entry, "urlRewrite.path.replacePrefixMatch")
        if replacement is not None:
            # "/a" and "/a/" become "/", "/a/b" becomes "/b": a plain prefix rewrite would leave
            # two slashes.
            pattern = f"^{re.escape(path.rstrip('/'))}/*"
            rewritten = f"{replacement.rstrip('/')}/"
            return {"pattern": {"regex": pattern}, "substitution": rewritten}
    return None
