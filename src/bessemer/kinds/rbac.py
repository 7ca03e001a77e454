"""Role, ClusterRole and their bindings: who may do what."""

from __future__ import annotations

from collections.abc import Iterator

from bessemer.kinds import columns, rules
from bessemer.kinds.kind import Cause, Column, Kind, Object

GROUP = "rbac.authorization.k8s.io"
_ACCOUNT = "ServiceAccount"
_SUBJECTS = ("Group", "ServiceAccount", "User")


def _validate_role(new: Object, _old: Object | None) -> list[Cause]:
    is_cluster = new["kind"] == "ClusterRole"
    causes = []
    if new.get("aggregationRule"):
        text = "not supported by this cluster: nobody fills in the rules; write them out"
        causes.append(rules.forbidden("aggregationRule", text))
    for index, rule in enumerate(new.get("rules") or ()):
        path = f"rules[{index}]"
        if not rule.get("verbs"):
            causes.append(rules.required(f"{path}.verbs", "verbs must contain at least one value"))
        if urls := rule.get("nonResourceURLs"):
            causes += [
                rules.bad(f"{path}.nonResourceURLs", urls, text)
                for text in _wrong_urls(rule, is_cluster=is_cluster)
            ]
            continue
        if not rule.get("apiGroups"):
            text = "resource rules must supply at least one api group"
            causes.append(rules.required(f"{path}.apiGroups", text))
        if not rule.get("resources"):
            text = "resource rules must supply at least one resource"
            causes.append(rules.required(f"{path}.resources", text))
    return causes


def _wrong_urls(rule: Object, *, is_cluster: bool) -> Iterator[str]:
    if not is_cluster:
        yield "namespaced rules cannot apply to non-resource URLs"
    if any(rule.get(part) for part in ("apiGroups", "resources", "resourceNames")):
        yield "rules cannot apply to both regular resources and non-resource URLs"


def _default_binding(obj: Object) -> None:
    if reference := obj.get("roleRef"):
        reference.setdefault("apiGroup", GROUP)
    for subject in obj.get("subjects") or ():
        if subject.get("kind") != _ACCOUNT:
            subject.setdefault("apiGroup", GROUP)


def _validate_binding(new: Object, _old: Object | None) -> list[Cause]:
    reference = new["roleRef"]
    causes = rules.one_of("roleRef.apiGroup", reference.get("apiGroup"), (GROUP,))
    known = ("ClusterRole",) if new["kind"] == "ClusterRoleBinding" else ("ClusterRole", "Role")
    causes += rules.one_of("roleRef.kind", reference.get("kind"), known)
    for index, subject in enumerate(new.get("subjects") or ()):
        path = f"subjects[{index}]"
        kind = subject.get("kind")
        causes += rules.one_of(f"{path}.kind", kind, _SUBJECTS)
        if kind == _ACCOUNT and not subject.get("namespace"):
            if new["kind"] == "ClusterRoleBinding":
                causes.append(rules.required(f"{path}.namespace"))
        elif kind in _SUBJECTS and kind != _ACCOUNT:
            causes += rules.one_of(f"{path}.apiGroup", subject.get("apiGroup"), (GROUP,))
    return causes


def _role_of(obj: Object) -> str:
    return f"{obj['roleRef']['kind']}/{obj['roleRef']['name']}"


def _of_kind(obj: Object, kind: str) -> str:
    found = [subject for subject in obj.get("subjects") or () if subject["kind"] == kind]
    if kind == _ACCOUNT:
        return ", ".join(f"{s.get('namespace', '')}/{s['name']}" for s in found)
    return ", ".join(subject["name"] for subject in found)


_ROLE_COLUMNS = (columns.NAME, Column("Created At", columns.path("metadata.creationTimestamp")))
_BINDING_COLUMNS = (
    columns.NAME,
    Column("Role", _role_of),
    columns.AGE,
    Column("Users", lambda obj: _of_kind(obj, "User"), priority=1),
    Column("Groups", lambda obj: _of_kind(obj, "Group"), priority=1),
    Column("ServiceAccounts", lambda obj: _of_kind(obj, _ACCOUNT), priority=1),
)

ROLE = Kind(
    GROUP,
    "v1",
    "Role",
    "roles",
    singular="role",
    schema="rbac.v1.Role",
    validate=_validate_role,
    columns=_ROLE_COLUMNS,
)
CLUSTER_ROLE = Kind(
    GROUP,
    "v1",
    "ClusterRole",
    "clusterroles",
    namespaced=False,
    singular="clusterrole",
    schema="rbac.v1.ClusterRole",
    validate=_validate_role,
    columns=_ROLE_COLUMNS,
)
ROLE_BINDING = Kind(
    GROUP,
    "v1",
    "RoleBinding",
    "rolebindings",
    singular="rolebinding",
    schema="rbac.v1.RoleBinding",
    default=_default_binding,
    validate=_validate_binding,
    columns=_BINDING_COLUMNS,
)
CLUSTER_ROLE_BINDING = Kind(
    GROUP,
    "v1",
    "ClusterRoleBinding",
    "clusterrolebindings",
    namespaced=False,
    singular="clusterrolebinding",
    schema="rbac.v1.ClusterRoleBinding",
    default=_default_binding,
    validate=_validate_binding,
    columns=_BINDING_COLUMNS,
)
