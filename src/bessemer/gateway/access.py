"""Whose requests a namespace's models answer. Pure.

Beside the admin these are the namespace's own service accounts, and everyone whom RBAC there lets
``get`` the InferenceService. Source: Kubeflow's profile controller (the AuthorizationPolicy
``ns-owner-access-istio``: what runs in a namespace may call what runs there); Open Data Hub's
odh-model-controller (an AuthConfig asks whether the caller may ``get inferenceservices``).
To load and unload a model changes what everyone gets, so it asks for ``update``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from bessemer.kinds import meta
from bessemer.kinds.inferenceservice import INFERENCE_SERVICE
from bessemer.kinds.kind import Object
from bessemer.kube import permissions
from bessemer.kube.access import Attributes
from bessemer.kube.permissions import RoleName, Subject

_Rules = tuple[Object, ...]


#: What asking a model takes, and what loading and unloading it.
ASK, CHANGE = "get", "update"


def _ask(verb: str, namespace: str = "", name: str = "") -> Attributes:
    kind = INFERENCE_SERVICE
    return Attributes(verb, kind.group, kind.plural, namespace=namespace, name=name)


class Grants:
    """Roles and bindings as far as they let anyone ask or change an InferenceService.

    Args:
        roles: Roles and ClusterRoles.
        bindings: RoleBindings and ClusterRoleBindings.
    """

    def __init__(self, roles: Iterable[Object], bindings: Iterable[Object]) -> None:
        roles, bindings = list(roles), list(bindings)
        self._by_verb = {
            verb: _join(_find_concerned(roles, verb), bindings) for verb in (ASK, CHANGE)
        }

    def find_subjects(self, namespace: str, name: str = "", verb: str = ASK) -> frozenset[Subject]:
        """Who may do that with the InferenceService of that name; of no name: with all there."""
        asked, by_namespace = _ask(verb, namespace, name), self._by_verb[verb]
        return frozenset(
            subject
            # The empty namespace has what is bound everywhere.
            for place in ("", namespace)
            for rules, subjects in by_namespace.get(place, ())
            if any(permissions.allows(rule, asked) for rule in rules)
            for subject in subjects
        )


def _find_concerned(roles: Iterable[Object], verb: str) -> dict[RoleName, _Rules]:
    return {
        RoleName(meta.namespace(role), meta.name(role)): found
        for role in roles
        if (found := _find_rules(role, verb))
    }


def _find_rules(role: Object, verb: str) -> _Rules:
    """Those of a role's rules that matter here, for whichever name."""
    return tuple(
        rule
        for rule in role.get("rules") or ()
        if permissions.allows({**rule, "resourceNames": ()}, _ask(verb))
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
