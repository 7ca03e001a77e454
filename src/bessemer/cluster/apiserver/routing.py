"""Paths of the API: which resource, object and verb a request means.

Source: k8s.io/apiserver pkg/endpoints/request/requestinfo.go.
"""

from __future__ import annotations

from typing import NamedTuple

from bessemer.kube.access import Attributes

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
# Parts of a namespace itself; anything else after its name is a resource in it.
_NAMESPACE_PARTS = ("status", "finalize")


class Route(NamedTuple):
    """What a path names. ``plural`` is empty for a path that is no resource's."""

    group: str
    version: str
    namespace: str = ""
    plural: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""  # what follows the subresource ("proxy/<rest>")

    @property
    def resource(self) -> str:
        """``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


def parse(path: str) -> Route | None:
    """The resource that the path names; None when it names none (``/healthz``, ``/apis/apps``)."""
    steps = path.split("/")
    if len(steps) < 4:
        return None
    if steps[1] == "api":
        group, version, parts = "", steps[2], steps[3:]
    elif steps[1] == "apis" and len(steps) > 4:
        group, version, parts = steps[2], steps[3], steps[4:]
    else:
        return None
    namespace = ""
    if (
        parts[0] == "namespaces"
        and len(parts) > 2
        and parts[2]
        and (group or parts[2] not in _NAMESPACE_PARTS)
    ):
        namespace, parts = parts[1], parts[2:]
    plural = parts[0]
    name = parts[1] if len(parts) > 1 else ""
    subresource = parts[2] if len(parts) > 2 else ""
    rest = "/".join(parts[3:]) if len(parts) > 3 else ""
    return Route(group, version, namespace, plural, name, subresource, rest) if plural else None


def attributes(method: str, route: Route, *, watch: bool) -> Attributes:
    """What RBAC is asked for."""
    if method in ("GET", "HEAD"):
        verb = "get" if route.name else "watch" if watch else "list"
    elif method == "DELETE":
        verb = "delete" if route.name else "deletecollection"
    else:
        verb = _VERBS.get(method, method.lower())
    namespace = route.namespace
    if not namespace and route.plural == "namespaces" and not route.group:
        # A namespace counts as inside itself, so that a Role in it can grant reading it.
        namespace = route.name
    return Attributes(verb, route.group, route.plural, route.subresource, namespace, route.name)
