"""HTTPRoute: which requests go to which Services, by weight.

Source: sigs.k8s.io/gateway-api apis/v1/httproute_types.go.
What the gateway does not do is refused.
"""

from __future__ import annotations

from typing import Any

from bessemer.resources import meta
from bessemer.resources.kind import Cause, Column, Kind, Object
from bessemer.resources.rules import bad, required

_RULE_FIELDS = ("name", "matches", "filters", "backendRefs", "timeouts")
_PATH_TYPES = ("PathPrefix", "Exact")


def default(obj: Object) -> None:
    """A rule without matches takes every path; a backend without weight counts once."""
    for rule in meta.dig(obj, "spec.rules") or ():
        if not isinstance(rule, dict):
            continue
        if not rule.get("matches"):
            rule["matches"] = [{"path": {"type": "PathPrefix", "value": "/"}}]
        for backend in rule.get("backendRefs") or ():
            if isinstance(backend, dict):
                backend.setdefault("weight", 1)


def validate(obj: Object, old: Object | None) -> list[Cause]:
    """The broken rules."""
    rules = meta.dig(obj, "spec.rules")
    if not isinstance(rules, list) or not rules:
        return [required("spec.rules")]
    causes: list[Cause] = []
    for number, rule in enumerate(rules):
        path = f"spec.rules[{number}]"
        if not isinstance(rule, dict):
            causes.append(bad(path, rule, "must be an object"))
            continue
        causes += [
            bad(f"{path}.{name}", name, f"is not supported; supported are {_RULE_FIELDS}")
            for name in rule
            if name not in _RULE_FIELDS
        ]
        for part, check in _PARTS:
            entries = rule.get(part) or []
            if isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries):
                causes += check(entries, path)
            else:
                causes.append(bad(f"{path}.{part}", entries, "must be a list of objects"))
    return causes


def _check_matches(matches: list[Any], path: str) -> list[Cause]:
    causes = []
    for number, match in enumerate(matches):
        where = f"{path}.matches[{number}]"
        causes += [
            bad(f"{where}.{name}", name, "is not supported; match by path")
            for name in match
            if name != "path"
        ]
        kind = meta.dig(match, "path.type", "PathPrefix")
        if kind not in _PATH_TYPES:
            causes.append(bad(f"{where}.path.type", kind, f"must be one of {_PATH_TYPES}"))
        value = meta.dig(match, "path.value", "/")
        if not isinstance(value, str) or not value.startswith("/"):
            causes.append(bad(f"{where}.path.value", value, "must start with '/'"))
    return causes


def _check_filters(filters: list[Any], path: str) -> list[Cause]:
    causes = []
    for number, entry in enumerate(filters):
        replaced = meta.dig(entry, "urlRewrite.path.type")
        if entry.get("type") != "URLRewrite" or replaced != "ReplacePrefixMatch":
            where = f"{path}.filters[{number}]"
            causes.append(bad(where, entry, "must be URLRewrite with path ReplacePrefixMatch"))
    return causes


def _check_backends(backends: list[Any], path: str) -> list[Cause]:
    causes = []
    for number, backend in enumerate(backends):
        where = f"{path}.backendRefs[{number}]"
        if not backend.get("name"):
            causes.append(required(f"{where}.name"))
        if not isinstance(backend.get("port"), int):
            causes.append(required(f"{where}.port", "the Service's port"))
        weight = backend.get("weight", 1)
        if not isinstance(weight, int) or not 0 <= weight <= 1_000_000:
            causes.append(bad(f"{where}.weight", weight, "must be between 0 and 1000000"))
        if backend.get("namespace"):
            causes.append(
                bad(f"{where}.namespace", backend["namespace"], "only the route's own namespace")
            )
    return causes


_PARTS = (
    ("matches", _check_matches),
    ("filters", _check_filters),
    ("backendRefs", _check_backends),
)

HTTP_ROUTE = Kind(
    "gateway.networking.k8s.io",
    "v1",
    "HTTPRoute",
    "httproutes",
    singular="httproute",
    subresources=frozenset({"status"}),
    columns=(
        Column("Hostnames", lambda obj: meta.dig(obj, "spec.hostnames")),
        Column("Age", lambda obj: meta.dig(obj, "metadata.creationTimestamp"), "date"),
    ),
    default=default,
    validate=validate,
    custom=True,
)
