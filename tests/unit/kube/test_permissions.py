"""What a rule allows and whom a binding names."""

import pytest

from bessemer.kinds.kind import Object
from bessemer.kube import permissions
from bessemer.kube.access import Attributes
from bessemer.kube.permissions import RoleName, Subject

GET_POD = Attributes("get", "", "pods", namespace="a", name="p")
GET_LOG = Attributes("get", "", "pods", "log", namespace="a", name="p")
GET_PATH = Attributes("get", path="/api/v1")


def make_rule(verbs: str, groups: str, resources: str, names: str = "") -> Object:
    rule: Object = {
        "verbs": verbs.split(),
        "apiGroups": ["" if group == "core" else group for group in groups.split()],
        "resources": resources.split(),
    }
    return {**rule, "resourceNames": names.split()} if names else rule


@pytest.mark.parametrize(
    ("rule", "asked", "allowed"),
    [
        (make_rule("get", "core", "pods"), GET_POD, True),
        (make_rule("*", "*", "*"), GET_POD, True),
        (make_rule("list watch", "core", "pods"), GET_POD, False),
        (make_rule("get", "apps", "pods"), GET_POD, False),
        (make_rule("get", "core", "secrets"), GET_POD, False),
        (make_rule("get", "core", "pods", "p q"), GET_POD, True),
        (make_rule("get", "core", "pods", "q"), GET_POD, False),
        (make_rule("get", "core", "pods", "p"), Attributes("get", "", "pods"), False),
        (make_rule("get", "core", "pods"), GET_LOG, False),
        (make_rule("get", "core", "pods/log"), GET_LOG, True),
        (make_rule("get", "core", "*/log"), GET_LOG, True),
        (make_rule("get", "core", "pods/log"), GET_POD, False),
        ({"verbs": ["get"], "nonResourceURLs": ["/api/*"]}, GET_POD, False),
        ({"verbs": ["get"], "nonResourceURLs": ["/api/*"]}, GET_PATH, True),
        ({"verbs": ["get"], "nonResourceURLs": ["/api"]}, GET_PATH, False),
        ({"verbs": ["get"], "nonResourceURLs": ["/api/v1"]}, GET_PATH, True),
        ({"verbs": ["get"], "nonResourceURLs": ["/apis/*"]}, GET_PATH, False),
        ({"verbs": ["list"], "nonResourceURLs": ["*"]}, GET_PATH, False),
        ({"verbs": ["get"]}, GET_POD, False),
    ],
)  # fmt: skip
def test_a_rule_allows_what_it_names(rule: Object, asked: Attributes, allowed: bool) -> None:  # noqa: FBT001 - a case
    assert permissions.allows(rule, asked) is allowed


def test_a_role_reference_means_the_bindings_own_namespace_or_the_cluster() -> None:
    role = {"kind": "Role", "name": "r"}
    cluster_role = {"kind": "ClusterRole", "name": "r"}

    assert permissions.find_role(role, "a") == RoleName("a", "r")
    assert permissions.find_role(cluster_role, "a") == RoleName("", "r")
    assert permissions.find_role(cluster_role, "") == RoleName("", "r")


def test_a_service_account_is_the_user_that_its_tokens_prove() -> None:
    binding = {
        "metadata": {"name": "b", "namespace": "a"},
        "subjects": [
            {"kind": "ServiceAccount", "name": "x", "namespace": "other"},
            {"kind": "ServiceAccount", "name": "x"},
            {"kind": "User", "name": "x"},
            {"kind": "Group", "name": "x"},
        ],
    }

    assert permissions.find_subjects(binding) == {
        Subject("User", "system:serviceaccount:other:x"),
        Subject("User", "system:serviceaccount:a:x"),
        Subject("User", "x"),
        Subject("Group", "x"),
    }
    assert permissions.find_subjects({"metadata": {"name": "b"}}) == frozenset()
