"""What exists in every new cluster: namespaces, roles, and what capabilities bring."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from bessemer.app.capabilities.capability import PIPELINES_NAMESPACE, Rights
from bessemer.app.capabilities.catalog import CAPABILITIES
from bessemer.kinds import meta
from bessemer.kinds.customresourcedefinition import CUSTOM_RESOURCE_DEFINITION as DEFINITION
from bessemer.kinds.customresourcedefinition import define
from bessemer.kinds.kind import Kind, Object
from bessemer.kinds.namespace import NAMESPACE, SYSTEM_NAMESPACE
from bessemer.kinds.rbac import CLUSTER_ROLE, CLUSTER_ROLE_BINDING
from bessemer.kinds.servingruntime import SERVING_RUNTIME
from bessemer.kube.client import Client
from bessemer.kube.errors import AlreadyExists

_NAMESPACES = (
    "default",
    "kube-system",
    "kube-public",
    "kube-node-lease",
    SYSTEM_NAMESPACE,
    PIPELINES_NAMESPACE,
)

_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "deletecollection", "patch", "update"]
_EDITABLE: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "",
        (
            "configmaps",
            "persistentvolumeclaims",
            "pods",
            "pods/attach",
            "pods/exec",
            "pods/portforward",
            "pods/proxy",
            "secrets",
            "serviceaccounts",
            "services",
            "services/proxy",
        ),
    ),
    ("apps", ("deployments", "deployments/scale", "replicasets", "replicasets/scale")),
    ("batch", ("jobs",)),
)
# What everyone with a view may read beside that: what others write.
_READABLE: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("", ("events", "namespaces", "pods/log", "pods/status", "services/status")),
    ("apps", ("deployments/status", "replicasets/status")),
    ("batch", ("jobs/status",)),
    ("coordination.k8s.io", ("leases",)),
    ("discovery.k8s.io", ("endpointslices",)),
    ("events.k8s.io", ("events",)),
)
# Names that a reader must not see, or that are doors rather than things.
_NOT_FOR_VIEWERS = frozenset(
    {"secrets", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "services/proxy"}
)
# The parts of shipped objects that are ours to change: what else is in them users may have set.
_UPDATED = {
    CLUSTER_ROLE.resource: "rules",
    SERVING_RUNTIME.resource: "spec",
    DEFINITION.resource: "spec",
}


def _rule(group: str, resources: Iterable[str], verbs: list[str]) -> Object:
    return {"apiGroups": [group], "resources": list(resources), "verbs": verbs}


def _all_edited() -> Iterable[tuple[str, tuple[str, ...]]]:
    yield from _EDITABLE
    yield from ((each.group, each.edited) for each in _rights() if each.edited)


def _rights() -> Iterable[Rights]:
    return (each for capability in CAPABILITIES for each in capability.rights)


def _reading() -> list[Object]:
    rules = [_rule(group, resources, _READ) for group, resources in _READABLE]
    return [*rules, *(_rule(each.group, each.read, _READ) for each in _rights() if each.read)]


def _view() -> list[Object]:
    visible = (
        (group, [name for name in resources if name not in _NOT_FOR_VIEWERS])
        for group, resources in _all_edited()
    )
    return [*(_rule(group, resources, _READ) for group, resources in visible), *_reading()]


def _edit() -> list[Object]:
    rules = [_rule(group, names, [*_READ, *_WRITE]) for group, names in _all_edited()]
    rules += [_rule(each.group, each.edited, [*each.verbs]) for each in _rights() if each.verbs]
    tokens = _rule("", ["serviceaccounts/token"], ["create"])
    return [*rules, tokens, *_reading()]


def _admin() -> list[Object]:
    group = "rbac.authorization.k8s.io"
    roles = _rule(group, ["roles", "rolebindings"], [*_READ, *_WRITE])
    reviews = _rule("authorization.k8s.io", ["localsubjectaccessreviews"], ["create"])
    return [*_edit(), roles, reviews]


def _everything() -> list[Object]:
    return [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
        {"nonResourceURLs": ["*"], "verbs": ["*"]},
    ]


def _role(name: str, rules: list[Object]) -> Object:
    return meta.new(CLUSTER_ROLE, name, rules=rules)


def _binding(kind: Kind, name: str, namespace: str, role: str, subject: Object) -> Object:
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    return meta.new(kind, name, namespace, roleRef=reference, subjects=[subject])


async def apply(client: Client) -> None:
    """Make what is missing; bring our roles and runtimes up to this program's version."""
    await asyncio.gather(
        *(_ensure(client, NAMESPACE, meta.new(NAMESPACE, name)) for name in _NAMESPACES)
    )
    masters = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:masters"}
    wanted: list[tuple[Kind, Object]] = [
        (CLUSTER_ROLE, _role("cluster-admin", _everything())),
        (CLUSTER_ROLE, _role("admin", _admin())),
        (CLUSTER_ROLE, _role("edit", _edit())),
        (CLUSTER_ROLE, _role("view", _view())),
        (
            CLUSTER_ROLE_BINDING,
            _binding(CLUSTER_ROLE_BINDING, "cluster-admin", "", "cluster-admin", masters),
        ),
        *(each for capability in CAPABILITIES for each in capability.objects),
        *((DEFINITION, define(kind)) for each in CAPABILITIES for kind in each.kinds),
    ]
    await asyncio.gather(*(_ensure(client, kind, obj) for kind, obj in wanted))


async def _ensure(client: Client, kind: Kind, wanted: Object) -> None:
    try:
        await client.create(kind, wanted)
        return
    except AlreadyExists:
        part = _UPDATED.get(kind.resource, "")
    if not part:
        return
    stored = await client.get(kind, meta.name(wanted), meta.namespace(wanted))
    if stored.get(part) != wanted[part]:
        await client.update(kind, {**stored, part: wanted[part]})
