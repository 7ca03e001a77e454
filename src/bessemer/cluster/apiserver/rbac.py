"""Role-based access: which user may what, by the Roles and bindings that are stored.

The index follows the store through ``observe``; a decision is remembered until the next change
of a role or binding. Source: plugin/pkg/auth/authorizer/rbac, pkg/registry/rbac/validation.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.rbac import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING
from bessemer.kube import permissions
from bessemer.kube.access import Attributes, Decision, User
from bessemer.kube.client import EventType
from bessemer.kube.errors import BadRequest
from bessemer.kube.permissions import GROUP, USER, RoleName, Subject

MASTERS = "system:masters"
#: The kinds to follow.
KINDS = (ROLE, CLUSTER_ROLE, ROLE_BINDING, CLUSTER_ROLE_BINDING)

_ALLOWED = Decision(allowed=True)
_REMEMBERED = 20_000
_MOST_REMEMBERED = 1024  # characters of a question; longer ones would fill the memory
_MOST_COMPARISONS = 1_000_000

# What everyone with a token may: upstream's system:basic-user, :discovery, :public-info-viewer.
_EVERYONE: tuple[Object, ...] = (
    {
        "verbs": ["create"],
        "apiGroups": ["authorization.k8s.io", "authentication.k8s.io"],
        "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"],
    },
    {
        "verbs": ["get"],
        "nonResourceURLs": [
            "/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", "/version",
            "/version/", "/healthz", "/livez", "/readyz", "/healthz/*", "/livez/*", "/readyz/*",
        ],
    },
)  # fmt: skip


class _Grant(NamedTuple):
    """One binding as it touches one subject."""

    namespace: str  # where it holds; empty: everywhere
    role: RoleName


_Identity = tuple[str, str, str]  # kind, apiVersion's namespace, name


class Rbac:
    """Decides by the observed roles and bindings: fulfils ``kube.access.Authorizer``."""

    def __init__(self) -> None:
        self._rules: dict[RoleName, tuple[Object, ...]] = {}
        self._bindings: dict[_Identity, tuple[_Grant, frozenset[Subject]]] = {}
        self._by_subject: defaultdict[Subject, set[_Identity]] = defaultdict(set)
        self._decisions: dict[tuple[User, Attributes], Decision] = {}

    # ---- following the store

    def observe(self, event: EventType, obj: Object) -> None:
        """Take a change of a Role, ClusterRole or binding."""
        gone = event is EventType.DELETED
        namespace, name = meta.namespace(obj), meta.name(obj)
        if obj["kind"] in (ROLE.kind, CLUSTER_ROLE.kind):
            role = RoleName(namespace, name)
            self._rules.pop(role, None)
            if not gone:
                self._rules[role] = tuple(obj.get("rules") or ())
        elif obj["kind"] in (ROLE_BINDING.kind, CLUSTER_ROLE_BINDING.kind):
            self._bind((obj["kind"], namespace, name), None if gone else obj)
        self._decisions.clear()

    def _bind(self, identity: _Identity, obj: Object | None) -> None:
        _, old = self._bindings.pop(identity, (None, frozenset()))
        for subject in old:
            self._by_subject[subject].discard(identity)
        if obj is None:
            return
        namespace = identity[1]
        role = permissions.find_role(obj["roleRef"], namespace)
        subjects = permissions.find_subjects(obj)
        self._bindings[identity] = (_Grant(namespace, role), subjects)
        for subject in subjects:
            self._by_subject[subject].add(identity)

    # ---- deciding

    async def authorize(self, user: User, attributes: Attributes) -> Decision:
        """Whether some rule allows it."""
        return self.decide(user, attributes)

    def decide(self, user: User, attributes: Attributes) -> Decision:
        """As ``authorize``, at once: what the hot path calls."""
        if MASTERS in user.groups:
            return _ALLOWED
        key = (user, attributes)
        decision = self._decisions.get(key)
        if decision is None:
            decision = self._decide(user, attributes)
            if len(self._decisions) >= _REMEMBERED:
                self._decisions.clear()
            if _length(user, attributes) <= _MOST_REMEMBERED:
                self._decisions[key] = decision
        return decision

    def _decide(self, user: User, attributes: Attributes) -> Decision:
        rules = self.rules_for(user, attributes.namespace)
        if any(permissions.allows(rule, attributes) for rule in rules):
            return _ALLOWED
        return Decision(allowed=False, reason=refusal(user, attributes))

    def rules_for(self, user: User, namespace: str) -> Iterator[Object]:
        """All rules that hold for the user in that namespace."""
        if "system:authenticated" in user.groups:
            yield from _EVERYONE
        seen: set[RoleName] = set()  # many bindings may give the same role
        subjects = [Subject(USER, user.name), *(Subject(GROUP, name) for name in user.groups)]
        for subject in subjects:
            for identity in self._by_subject.get(subject, ()):
                grant, _ = self._bindings[identity]
                if grant.role not in seen and grant.namespace in ("", namespace):
                    seen.add(grant.role)
                    yield from self._rules.get(grant.role, ())

    def missing(self, user: User, namespace: str, wanted: Iterable[Object]) -> list[str]:
        """Which of the wanted rules the user does not hold itself (so may not give away).

        Raises:
            BadRequest: the wanted ones are too many to be held against the user's own.
        """
        if MASTERS in user.groups:
            return []
        wanted = list(wanted)
        held = list(self.rules_for(user, namespace))
        comparisons = sum(map(_count, wanted)) * max(1, len(held))
        if comparisons > _MOST_COMPARISONS:
            raise BadRequest(
                f"a role's permissions (verbs by groups by resources by names) times the rules of "
                f"who gives it may be {_MOST_COMPARISONS}, but are {comparisons}: make several "
                "roles, or use '*'"
            )
        return [text for rule in wanted for text in _uncovered(rule, held)]


def _length(user: User, attributes: Attributes) -> int:
    texts = (user.name, *user.groups, attributes.path, attributes.verb, attributes.resource)
    names = (attributes.group, attributes.subresource, attributes.namespace, attributes.name)
    return sum(map(len, texts + names))


def refusal(user: User, attributes: Attributes) -> str:
    """``User "x" cannot get resource "pods" in API group "" in the namespace "y"``."""
    if attributes.path:
        return f'User "{user.name}" cannot {attributes.verb} path "{attributes.path}"'
    resource = attributes.resource
    if attributes.subresource:
        resource += f"/{attributes.subresource}"
    where = (
        f'in the namespace "{attributes.namespace}"'
        if attributes.namespace
        else "at the cluster scope"
    )
    return (
        f'User "{user.name}" cannot {attributes.verb} resource "{resource}" '
        f'in API group "{attributes.group}" {where}'
    )


def _count(rule: Object) -> int:
    """The single permissions of a rule."""
    parts = ("apiGroups", "resources", "verbs")
    of_resources = math.prod(len(rule.get(part) or ()) for part in parts)
    of_resources *= len(rule.get("resourceNames") or "1")
    return of_resources + len(rule.get("verbs") or ()) * len(rule.get("nonResourceURLs") or ())


def _uncovered(rule: Object, held: list[Object]) -> list[str]:
    """Each single permission of the rule that no held rule has, as text."""
    texts = []
    if not rule.get("resourceNames"):  # who holds some names alone doesn't hold all
        held = [each for each in held if not each.get("resourceNames")]
    for verb in rule.get("verbs") or ():
        asked = [Attributes(verb=verb, path=path) for path in rule.get("nonResourceURLs") or ()]
        for group in rule.get("apiGroups") or ():
            for resource in rule.get("resources") or ():
                main, _, sub = resource.partition("/")
                for name in rule.get("resourceNames") or ("",):
                    asked.append(Attributes(verb, group, main, sub, name=name))
        texts += [_permission(a) for a in asked if not any(permissions.allows(h, a) for h in held)]
    return texts


def _permission(attributes: Attributes) -> str:
    if attributes.path:
        return f'{{NonResourceURLs:["{attributes.path}"], Verbs:["{attributes.verb}"]}}'
    resource = "/".join(filter(None, (attributes.resource, attributes.subresource)))
    names = f', ResourceNames:["{attributes.name}"]' if attributes.name else ""
    return (
        f'{{APIGroups:["{attributes.group}"], Resources:["{resource}"]{names}, '
        f'Verbs:["{attributes.verb}"]}}'
    )
