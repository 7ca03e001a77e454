"""What the server serves, as clients discover it: /api, /apis, and both at once (aggregated).

Source: k8s.io/apiserver/pkg/endpoints/discovery.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from bessemer.kinds.kind import Kind, Object
from bessemer.kinds.namespace import NAMESPACE

_ALL_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_PART_VERBS = ["get", "patch", "update"]
#: Accept's mark of the aggregated form.
AGGREGATED = b"as=APIGroupDiscoveryList"
AGGREGATED_TYPE = b"application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def _part(name: str, kind: str, verbs: list[str], group: str = "") -> Object:
    group, _, version = group.rpartition("/")
    found: Object = {"name": name, "kind": kind, "verbs": verbs}
    if version:
        found |= {"group": group, "version": version}
    return found


# Resources that are no kind of the store: (group, version) -> entries.
_CALLS: Mapping[tuple[str, str], tuple[tuple[str, str, bool], ...]] = {
    ("authentication.k8s.io", "v1"): (
        ("selfsubjectreviews", "SelfSubjectReview", False),
        ("tokenreviews", "TokenReview", False),
    ),
    ("authorization.k8s.io", "v1"): (
        ("localsubjectaccessreviews", "LocalSubjectAccessReview", True),
        ("selfsubjectaccessreviews", "SelfSubjectAccessReview", False),
        ("selfsubjectrulesreviews", "SelfSubjectRulesReview", False),
        ("subjectaccessreviews", "SubjectAccessReview", False),
    ),
}
# Subresources that are no part of the object.
_EXTRA: Mapping[str, tuple[Object, ...]] = {
    "pods": (
        _part("log", "Pod", ["get"]),
        _part("binding", "Binding", ["create"]),
    ),
    "serviceaccounts": (_part("token", "TokenRequest", ["create"], "authentication.k8s.io/v1"),),
    "services": (
        _part("proxy", "ServiceProxyOptions", ["create", "delete", "get", "patch", "update"]),
    ),
    "namespaces": (_part("finalize", "Namespace", ["update"]),),
}


def versions(kinds: Iterable[Kind]) -> dict[str, dict[str, list[Kind]]]:
    """Group -> version -> kinds."""
    found: dict[str, dict[str, list[Kind]]] = {"": {}}
    for kind in kinds:
        found.setdefault(kind.group, {}).setdefault(kind.version, []).append(kind)
    for group, version in _CALLS:
        found.setdefault(group, {}).setdefault(version, [])
    return {
        group: {version: each[version] for version in sorted(each, key=_priority)}
        for group, each in found.items()
    }


_VERSION = re.compile(r"v([1-9]\d*)(?:(alpha|beta)([1-9]\d*))?")


def _priority(version: str) -> tuple[int, int, int, str]:
    """v2 before v1 before v1beta1 before v1alpha1. Source: apimachinery pkg/version."""
    found = _VERSION.fullmatch(version)
    if found is None:
        return (3, 0, 0, version)
    stage = {None: 0, "beta": 1, "alpha": 2}[found[2]]
    return (stage, -int(found[1]), -int(found[3] or 0), "")


def core_versions() -> Object:
    """/api."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [],
    }


def group_list(kinds: Iterable[Kind]) -> Object:
    """/apis."""
    groups = [_group(name, found) for name, found in versions(kinds).items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(kinds: Iterable[Kind], name: str) -> Object | None:
    """/apis/<group>."""
    found = versions(kinds).get(name)
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, found)} if found else None


def _group(name: str, found: Mapping[str, list[Kind]]) -> Object:
    entries = [{"groupVersion": f"{name}/{version}", "version": version} for version in found]
    return {"name": name, "versions": entries, "preferredVersion": entries[0]}


def resource_list(kinds: Iterable[Kind], group: str, version: str) -> Object | None:
    """/api/v1 and /apis/<group>/<version>."""
    found = versions(kinds).get(group, {}).get(version)
    if found is None:
        return None
    resources: list[Object] = []
    for kind in found:
        resources += _entries(kind)
    for plural, name, namespaced in _CALLS.get((group, version), ()):
        resources.append(
            {
                "name": plural,
                "singularName": name.lower(),
                "namespaced": namespaced,
                "kind": name,
                "verbs": ["create"],
            }
        )
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": resources,
    }


def _verbs(kind: Kind) -> list[str]:
    # All namespaces at once are never deleted.
    return [verb for verb in _ALL_VERBS if kind is not NAMESPACE or verb != "deletecollection"]


def _entries(kind: Kind) -> list[Object]:
    main: Object = {
        "name": kind.plural,
        "singularName": kind.singular or kind.kind.lower(),
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": _verbs(kind),
    }
    if kind.short_names:
        main["shortNames"] = list(kind.short_names)
    if kind.categories:
        main["categories"] = list(kind.categories)
    return [main, *(_sub_entry(kind, part) for part in _parts(kind))]


def _parts(kind: Kind) -> list[Object]:
    parts = []
    for name in sorted(kind.subresources):
        if name == "scale":
            parts.append(_part(name, "Scale", _PART_VERBS, "autoscaling/v1"))
        else:
            parts.append(_part(name, kind.kind, _PART_VERBS))
    return parts + list(_EXTRA.get(kind.resource, ()))


def _sub_entry(kind: Kind, part: Object) -> Object:
    return {
        **part,
        "name": f"{kind.plural}/{part['name']}",
        "singularName": "",
        "namespaced": kind.namespaced,
    }


def aggregated(kinds: Iterable[Kind], *, core: bool) -> Object:
    """/api or /apis with every resource in one document."""
    items = []
    for name, found in versions(kinds).items():
        if bool(name) == core:
            continue
        entries = [
            {
                "version": version,
                "resources": [
                    *(_aggregated_entry(kind) for kind in members),
                    *(
                        _aggregated_call(name, version, *call)
                        for call in _CALLS.get((name, version), ())
                    ),
                ],
                "freshness": "Current",
            }
            for version, members in found.items()
        ]
        items.append({"metadata": {"name": name} if name else {}, "versions": entries})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _aggregated_call(
    group: str,
    version: str,
    plural: str,
    name: str,
    namespaced: bool,  # noqa: FBT001 - a row of _CALLS
) -> Object:
    return {
        "resource": plural,
        "responseKind": {"group": group, "version": version, "kind": name},
        "scope": "Namespaced" if namespaced else "Cluster",
        "singularResource": name.lower(),
        "verbs": ["create"],
    }


def _aggregated_entry(kind: Kind) -> Object:
    entry: Object = {
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular or kind.kind.lower(),
        "verbs": _verbs(kind),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    parts = [
        {
            "subresource": part["name"],
            "responseKind": {
                "group": part.get("group", kind.group),
                "version": part.get("version", kind.version),
                "kind": part["kind"],
            },
            "verbs": part["verbs"],
        }
        for part in _parts(kind)
    ]
    if parts:
        entry["subresources"] = parts
    return entry
