"""Whose requests a namespace's models answer. Pure.

Beside the admin these are the namespace's own service accounts, and everyone whom RBAC there lets
``get`` the InferenceService. Source: Kubeflow's profile controller (the AuthorizationPolicy
``ns-owner-access-istio``: what runs in a namespace may call what runs there); Open Data Hub's
odh-model-controller (an AuthConfig asks whether the caller may ``get inferenceservices``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from bessemer.kube import permissions
from bessemer.kube.access import Attributes
from bessemer.kube.permissions import RoleName, Subject
from bessemer.resources import meta
from bessemer.resources.inferenceservice import INFERENCE_SERVICE
from bessemer.resources.kind import Object

_Rules = tuple[Object, ...]


def _ask(namespace: str = "", name: str = "") -> Attributes:
    kind = INFERENCE_SERVICE
    return Attributes("get", kind.group, kind.plural, namespace=namespace, name=name)


class Grants:
    """Roles and bindings as far as they let anyone ``get`` an InferenceService.

    Args:
        roles: Roles and ClusterRoles.
        bindings: RoleBindings and ClusterRoleBindings.
    """

    def __init__(self, roles: Iterable[Object], bindings: Iterable[Object]) -> None:
        concerned = {
            RoleName(meta.namespace(role), meta.name(role)): found
            for role in roles
            if (found := _find_rules(role))
        }
        self._by_namespace = _join(concerned, bindings)

    def find_subjects(self, namespace: str, name: str = "") -> frozenset[Subject]:
        """Who may ``get`` the InferenceService of that name; of no name: all of the namespace."""
        asked = _ask(namespace, name)
        return frozenset(
            subject
            # The empty namespace has what is bound everywhere.
            for place in ("", namespace)
            for rules, subjects in self._by_namespace.get(place, ())
            if any(permissions.allows(rule, asked) for rule in rules)
            for subject in subjects
        )


def _find_rules(role: Object) -> _Rules:
    """Those of a role's rules that matter here, for whichever name."""
    return tuple(
        rule
        for rule in role.get("rules") or ()
        if permissions.allows({**rule, "resourceNames": ()}, _ask())
    )


def _join(
    roles: Mapping[RoleName, _Rules], bindings: Iterable[Object]
) -> Mapping[str, list[tuple[_Rules, frozenset[Subject]]]]:
    found: defaultdict[str, list[tuple[_Rules, frozenset[Subject]]]] = defaultdict(list)
    for binding in bindings:
        namespace = meta.namespace(binding)
        rules = roles.get(permissions.find_role(binding["roleRef"], namespace))
        if rules:
            found[namespace].append((rules, permissions.find_subjects(binding)))
    return found


def find_model(route: Object) -> str:
    """The InferenceService that a route leads to; empty: it leads to something else."""
    owner = meta.controller_of(route)
    kind = INFERENCE_SERVICE
    if owner is None or owner["kind"] != kind.kind:
        return ""
    return str(owner["name"]) if owner["apiVersion"].startswith(f"{kind.group}/") else ""
