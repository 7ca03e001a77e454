"""HTTPRoute: which requests go to which Services, by weight.

Source: sigs.k8s.io/gateway-api apis/v1/httproute_types.go.
What the gateway does not do is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from bessemer.kinds import meta
from bessemer.kinds.kind import Cause, Column, Kind, Object
from bessemer.kinds.rules import bad, is_whole, required

_RULE_FIELDS = ("name", "matches", "filters", "backendRefs", "timeouts", "retry")
_PATH_TYPES = ("PathPrefix", "Exact")
_HOST = re.compile(r"(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
# What the gateway's clients can ask for; Envoy takes no route of another kind of path.
_PATH = re.compile(r"/([-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*")
_PATH_CHARS = 1024
_PATH_WORDS = (
    "an absolute path of a URL's characters, without '//', '/./', '/../' and '%2f', of at most "
    f"{_PATH_CHARS} characters"
)
_NOT_IN_PATHS = re.compile(r"//|/\.\.?(/|$)|%2[fF]")
# Gateway API's durations (GEP-2257).
_DURATION = re.compile(r"([0-9]{1,5}(h|m|s|ms)){1,4}")
_MOST_ATTEMPTS = 10


def default(obj: Object) -> None:
    """A rule without matches takes every path; a backend without weight counts once."""
    rules = meta.dig(obj, "spec.rules")
    for rule in rules if isinstance(rules, list) else ():
        if not isinstance(rule, dict):
            continue
        if not rule.get("matches"):
            rule["matches"] = [{"path": {"type": "PathPrefix", "value": "/"}}]
        backends = rule.get("backendRefs")
        for backend in backends if isinstance(backends, list) else ():
            if isinstance(backend, dict):
                backend.setdefault("weight", 1)


def validate(obj: Object, old: Object | None) -> list[Cause]:
    """The rules of this cluster that an HTTPRoute breaks."""
    spec = obj.get("spec")
    rules = meta.dig(obj, "spec.rules")
    if not isinstance(spec, dict) or not isinstance(rules, list) or not rules:
        return [required("spec.rules", "a list of at least one rule")]
    causes = _check_hosts(spec.get("hostnames"))
    for number, rule in enumerate(rules):
        path = f"spec.rules[{number}]"
        if isinstance(rule, dict):
            causes += _check_rule(rule, path)
        else:
            causes.append(bad(path, rule, "must be an object"))
    return causes


def _check_hosts(hosts: Any) -> list[Cause]:
    if hosts is None:
        return []
    if not isinstance(hosts, list):
        return [bad("spec.hostnames", hosts, "must be a list of host names")]
    return [
        bad(f"spec.hostnames[{number}]", host, "must be a host name, or one after '*.'")
        for number, host in enumerate(hosts)
        if not isinstance(host, str) or not _HOST.fullmatch(host)
    ]


def _check_rule(rule: Object, path: str) -> list[Cause]:
    causes = [
        bad(f"{path}.{name}", name, f"is not supported; supported are {_RULE_FIELDS}")
        for name in rule
        if name not in _RULE_FIELDS
    ]
    for part, check in _LISTS.items():
        entries = rule.get(part)
        if entries is None:
            continue
        if not isinstance(entries, list):
            causes.append(bad(f"{path}.{part}", entries, "must be a list of objects"))
            continue
        for number, entry in enumerate(entries):
            where = f"{path}.{part}[{number}]"
            if isinstance(entry, dict):
                causes += check(entry, where)
            else:
                causes.append(bad(where, entry, "must be an object"))
    for part, check in _OBJECTS.items():
        value = rule.get(part)
        if isinstance(value, dict):
            causes += check(value, f"{path}.{part}")
        elif value is not None:
            causes.append(bad(f"{path}.{part}", value, "must be an object"))
    return causes


def _check_match(match: Object, where: str) -> list[Cause]:
    causes = [
        bad(f"{where}.{name}", name, "is not supported; match by path")
        for name in match
        if name != "path"
    ]
    path = match.get("path")
    if path is None:
        return causes
    if not isinstance(path, dict):
        return [*causes, bad(f"{where}.path", path, "must be an object")]
    kind = path.get("type", "PathPrefix")
    if kind not in _PATH_TYPES:
        causes.append(bad(f"{where}.path.type", kind, f"must be one of {_PATH_TYPES}"))
    value = path.get("value", "/")
    if not isinstance(value, str) or not _is_path(value):
        causes.append(bad(f"{where}.path.value", value, f"must be {_PATH_WORDS}"))
    return causes


def _is_path(value: str) -> bool:
    fits = _PATH.fullmatch(value) is not None and len(value) <= _PATH_CHARS
    return fits and _NOT_IN_PATHS.search(value) is None


def _check_filter(entry: Object, where: str) -> list[Cause]:
    rewrite = entry.get("urlRewrite")
    known = (
        entry.get("type") == "URLRewrite"
        and isinstance(rewrite, dict)
        and set(rewrite) == {"path"}
        and meta.dig(rewrite, "path.type") == "ReplacePrefixMatch"
    )
    if not known:
        return [bad(where, entry, "must be URLRewrite with path ReplacePrefixMatch")]
    replacement = meta.dig(rewrite, "path.replacePrefixMatch")
    if not isinstance(replacement, str) or not (replacement == "" or _is_path(replacement)):
        where = f"{where}.urlRewrite.path.replacePrefixMatch"
        return [bad(where, replacement, f"must be empty, or {_PATH_WORDS}")]
    return []


def _check_backend(backend: Object, where: str) -> list[Cause]:
    causes = []
    name = backend.get("name")
    if not isinstance(name, str) or not name:
        causes.append(required(f"{where}.name", "the Service's name"))
    if backend.get("kind", "Service") != "Service" or backend.get("group"):
        causes.append(bad(f"{where}.kind", backend.get("kind"), "must be Service"))
    port: Any = backend.get("port")
    if not is_whole(port) or not 1 <= port <= 65535:
        causes.append(required(f"{where}.port", "the Service's port, between 1 and 65535"))
    weight = backend.get("weight", 1)
    if not is_whole(weight) or not 0 <= weight <= 1_000_000:
        causes.append(bad(f"{where}.weight", weight, "must be between 0 and 1000000"))
    if backend.get("namespace"):
        causes.append(
            bad(f"{where}.namespace", backend["namespace"], "only the route's own namespace")
        )
    return causes


def _check_timeouts(timeouts: Object, where: str) -> list[Cause]:
    causes = [
        bad(f"{where}.{name}", name, "is not supported; supported is request")
        for name in timeouts
        if name != "request"
    ]
    request = timeouts.get("request")
    if request is not None and not (isinstance(request, str) and _DURATION.fullmatch(request)):
        causes.append(bad(f"{where}.request", request, "must be a duration such as 30s or 1m30s"))
    return causes


def _check_retry(retry: Object, where: str) -> list[Cause]:
    causes = [
        bad(f"{where}.{name}", name, "is not supported; supported are attempts and codes")
        for name in retry
        if name not in ("attempts", "codes")
    ]
    attempts = retry.get("attempts", 1)
    if not is_whole(attempts) or not 1 <= attempts <= _MOST_ATTEMPTS:
        causes.append(
            bad(f"{where}.attempts", attempts, f"must be between 1 and {_MOST_ATTEMPTS}")
        )
    codes = retry.get("codes", [])
    if not isinstance(codes, list) or not all(
        is_whole(code) and 400 <= code <= 599 for code in codes
    ):
        causes.append(bad(f"{where}.codes", codes, "must be status codes between 400 and 599"))
    return causes


def seconds(duration: str) -> float:
    """A duration of Gateway API ("1m30s") in seconds."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    parts = re.findall(r"([0-9]+)(ms|h|m|s)", duration)
    return sum(int(number) * units[unit] for number, unit in parts)


_Check = Callable[[Object, str], list[Cause]]
_LISTS: dict[str, _Check] = {
    "matches": _check_match,
    "filters": _check_filter,
    "backendRefs": _check_backend,
}
_OBJECTS: dict[str, _Check] = {"timeouts": _check_timeouts, "retry": _check_retry}

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
