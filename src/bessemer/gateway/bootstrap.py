"""Envoy's fixed part: the listener, who may pass it, where the rest comes from. Pure.

Who comes in: the bearer of the home's admin token, and of a service account's token that the
home's key signed; ``guard`` says who of them may take which route. Envoy checks all of it itself,
so that models answer while the control plane is down. For the same reason a token counts here
until it expires, even where its account or pod is gone (the API server refuses it at once), as it
does at Istio's gateway.
Source: Envoy's API v3 (bootstrap.proto, http_connection_manager.proto, jwt_authn).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bessemer.gateway import guard
from bessemer.gateway.plan import ADMIN_CLUSTER, READY_PATH, VERSION_PATH
from bessemer.kinds.kind import Object

# Each takes a descriptor, and one behind it another; on many machines a process has 20 000.
_MOST_CONNECTIONS = 8192


@dataclass(frozen=True)
class Folders:
    """Where Envoy finds its files (in its pod).

    Below its working directory they are told to it relative to that: where a machine has no
    namespaces, a pod's home is really elsewhere.
    """

    bootstrap: str = "/home/pod/bootstrap"
    xds: str = "/home/pod/xds"
    run: str = "/home/pod/run"
    home: str = "/home/pod"

    def told(self, folder: str) -> str:
        """One of the folders as Envoy is to open it."""
        return folder.removeprefix(f"{self.home}/")


@dataclass(frozen=True)
class Authentication:
    """Whose requests the gateway lets in.

    Attributes:
        admin_token: its bearer passes everywhere.
        jwks: public keys (RFC 7517); whose token one of them signed, passes where it may.
        issuer: of those tokens.
        audience: that those tokens must be for.
    """

    admin_token: str
    jwks: Mapping[str, Any]
    issuer: str
    audience: str


def make_jwks(public_key: bytes) -> dict[str, Any]:
    """The key set of one Ed25519 public key (its 32 raw bytes). Source: RFC 8037."""
    text = base64.urlsafe_b64encode(public_key).decode().rstrip("=")
    return {"keys": [{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "x": text}]}


@dataclass(frozen=True)
class GatewayOptions:
    """A gateway: where it listens, and whom it lets pass (None: everyone).

    Attributes:
        services: the network ("127.7.0.0/17") whose addresses Services have that it answers for;
            None: somebody else does, as kube-proxy on Kubernetes.
        patience: seconds that a written configuration may need to get into use; one that has not
            after them is taken as refused.
    """

    host: str
    port: int
    authentication: Authentication | None = None
    folders: Folders = Folders()
    services: str | None = None
    patience: float = 10.0


def _config_source(folders: Folders, name: str) -> Object:
    """A file that Envoy follows. Kubelet swaps a link in the folder, so the folder is watched."""
    folder = folders.told(folders.xds)
    return {
        "path_config_source": {
            "path": f"{folder}/{name}",
            "watched_directory": {"path": folder},
        },
        "resource_api_version": "V3",
    }


def make_bootstrap(settings: GatewayOptions) -> str:
    """The bootstrap file's text."""
    folders = settings.folders
    return json.dumps(
        {
            "node": {"id": "gateway", "cluster": "bessemer"},
            "admin": {
                "address": {
                    "pipe": {"path": f"{folders.told(folders.run)}/admin.sock", "mode": 0o600}
                }
            },
            "static_resources": {
                "listeners": [_make_listener(settings)],
                "clusters": [_make_admin_cluster(folders)],
            },
            "dynamic_resources": {
                "cds_config": _config_source(folders, "cds.json"),
                "lds_config": _config_source(folders, "lds.json"),
            },
            # Each statistic costs memory in each cluster.
            "stats_config": {
                "stats_matcher": {
                    "inclusion_list": {
                        "patterns": [
                            {"suffix": suffix}
                            for suffix in (
                                "update_success",
                                "update_rejected",
                                "downstream_rq_total",
                                "downstream_cx_active",
                                "upstream_rq_total",
                                "upstream_rq_5xx",
                                "upstream_rq_retry",
                            )
                        ]
                    }
                }
            },
            "overload_manager": {
                "resource_monitors": [
                    {
                        "name": "envoy.resource_monitors.global_downstream_max_connections",
                        "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.resource_monitors."
                            "downstream_connections.v3.DownstreamConnectionsConfig",
                            "max_active_downstream_connections": _MOST_CONNECTIONS,
                        },
                    }
                ]
            },
        },
        sort_keys=True,
    )


def _make_admin_cluster(folders: Folders) -> Object:
    """Envoy's own account of itself, to which two paths lead."""
    address = {"pipe": {"path": f"{folders.told(folders.run)}/admin.sock"}}
    return {
        "name": ADMIN_CLUSTER,
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": ADMIN_CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


def _make_listener(settings: GatewayOptions) -> Object:
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
            "suppress_envoy_headers": True,
        },
    }
    authentication = settings.authentication
    checks: list[Object] = []
    if authentication is not None:
        checks = [_make_check(authentication), *guard.make_filters(authentication.admin_token)]
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network."
        "http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "rds": {
            "route_config_name": "gateway",
            "config_source": _config_source(settings.folders, "rds.json"),
        },
        "http_filters": [*checks, router],
        "local_reply_config": guard.make_refusal(),
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        # Nobody is in front of us: what a client says of its address or certificate is not so.
        "use_remote_address": True,
        "forward_client_cert_details": "SANITIZE",
        "generate_request_id": False,
        "server_header_transformation": "APPEND_IF_ABSENT",
        # Nobody needs a token to connect: who asks nothing makes room, and heads have an end.
        "common_http_protocol_options": {"idle_timeout": "60s"},
        "max_request_headers_kb": 64,
        "stream_idle_timeout": "300s",
        "request_headers_timeout": "10s",
    }
    return {
        "name": "gateway",
        "address": {"socket_address": {"address": settings.host, "port_value": settings.port}},
        # Only one Envoy may have the port; a second must fail, not share.
        "enable_reuse_port": False,
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": manager,
                    }
                ]
            }
        ],
    }


def _make_check(authentication: Authentication) -> Object:
    bearer = guard.match_bearer(authentication.admin_token)
    trusted = {
        "audiences": [authentication.audience],
        "local_jwks": {"inline_string": json.dumps(authentication.jwks)},
    }
    # The first rule that matches decides; one that requires nothing lets pass.
    rules: list[Object] = [
        {"match": {"path": READY_PATH}},
        {"match": {"path": VERSION_PATH}},
        {"match": {"prefix": "/", "headers": [bearer]}},
        # What is left of our own is the admin's alone: nobody issues such tokens.
        {"match": {"prefix": "/-/"}, "requires": {"provider_name": "nobody"}},
        {"match": {"prefix": "/"}, "requires": {"provider_name": "home"}},
    ]
    return {
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3."
            "JwtAuthentication",
            "providers": {
                "home": {
                    "issuer": authentication.issuer,
                    "payload_in_metadata": guard.PAYLOAD,
                    # Named, so that none is taken from the URL, where logs would keep it.
                    "from_headers": [
                        {"name": "Authorization", "value_prefix": f"{scheme} "}
                        for scheme in ("Bearer", "bearer", "BEARER")
                    ],
                    **trusted,
                },
                "nobody": {"issuer": "nobody", **trusted},
            },
            "rules": rules,
        },
    }
