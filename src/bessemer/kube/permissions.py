"""What a role's rules allow and whom a binding names. Pure.

Both those who decide at each request and those who write a decision down ahead ask here, so that
there is one meaning of a rule. Source: pkg/apis/rbac/v1/evaluation_helpers,
pkg/registry/rbac/validation, k8s.io/apiserver pkg/authentication/serviceaccount.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.rbac import ROLE
from bessemer.kube.access import Attributes

USER = "User"
GROUP = "Group"
_ACCOUNT = "ServiceAccount"
# A service account's user is this, its namespace, a colon and its name.
ACCOUNT_PREFIX = "system:serviceaccount:"
# The groups of every service account's user; the second goes on with its namespace.
ACCOUNTS_GROUP = "system:serviceaccounts"
ACCOUNTS_OF_PREFIX = "system:serviceaccounts:"
AUTHENTICATED_GROUP = "system:authenticated"


class Subject(NamedTuple):
    """A user or a group by its name; a service account is the user that its tokens prove."""

    kind: str  # USER or GROUP
    name: str


class RoleName(NamedTuple):
    """Which role: a Role of that namespace, or the ClusterRole where that is empty."""

    namespace: str
    name: str


def find_role(reference: Object, namespace: str) -> RoleName:
    """The role that the ``roleRef`` of a binding in that namespace means."""
    home = namespace if reference.get("kind") == ROLE.kind else ""
    return RoleName(home, reference.get("name", ""))


def find_subjects(binding: Object) -> frozenset[Subject]:
    """Whom a RoleBinding or ClusterRoleBinding names."""
    namespace = meta.namespace(binding)
    return frozenset(_read_subject(entry, namespace) for entry in binding.get("subjects") or ())


def _read_subject(subject: Object, namespace: str) -> Subject:
    if subject["kind"] == _ACCOUNT:
        home = subject.get("namespace") or namespace
        return Subject(USER, f"{ACCOUNT_PREFIX}{home}:{subject['name']}")
    return Subject(subject["kind"], subject["name"])


def allows(rule: Object, attributes: Attributes) -> bool:
    """Whether one rule of a role, where it holds, allows what is asked for."""
    verbs = rule.get("verbs") or ()
    if "*" not in verbs and attributes.verb not in verbs:
        return False
    if attributes.path:
        return any(_path_fits(p, attributes.path) for p in rule.get("nonResourceURLs") or ())
    groups = rule.get("apiGroups") or ()
    if "*" not in groups and attributes.group not in groups:
        return False
    if not _resource_fits(rule.get("resources") or (), attributes):
        return False
    names = rule.get("resourceNames")
    return not names or attributes.name in names


def _resource_fits(resources: Iterable[str], attributes: Attributes) -> bool:
    wanted = attributes.resource
    if attributes.subresource:
        wanted = f"{wanted}/{attributes.subresource}"
    return any(
        resource in ("*", wanted)
        or (attributes.subresource and resource == f"*/{attributes.subresource}")
        for resource in resources
    )


def _path_fits(pattern: str, path: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern[:-1]))
