"""Nobody gives away rights that they don't hold: checked on writing roles and bindings.

Source: pkg/registry/rbac/{role,rolebinding}/policybased.
"""

from __future__ import annotations

from bessemer.cluster.apiserver.machine import Machine
from bessemer.cluster.apiserver.rbac import MASTERS, Rbac
from bessemer.kube import patches
from bessemer.kube.access import Attributes, User
from bessemer.kube.client import PatchType
from bessemer.kube.errors import Forbidden
from bessemer.kube.requests import Target
from bessemer.resources.kind import Kind, Object
from bessemer.resources.rbac import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING

_ROLES = (ROLE, CLUSTER_ROLE)
_BINDINGS = (ROLE_BINDING, CLUSTER_ROLE_BINDING)


def check(rbac: Rbac, machine: Machine, user: User, write: tuple[Target, Object]) -> None:
    """Raise Forbidden where the write would give rights that the user lacks."""
    target, obj = write
    kind = target.kind
    if MASTERS in user.groups or kind not in _ROLES + _BINDINGS:
        return
    verb = "escalate" if kind in _ROLES else "bind"
    if kind in _ROLES:
        wanted = tuple(rule for rule in obj.get("rules") or () if isinstance(rule, dict))
        may = Attributes(verb, kind.group, kind.plural, "", target.namespace, target.name)
    else:
        reference = obj.get("roleRef") or {}
        wanted = rbac.role_rules(reference, target.namespace)
        plural = ROLE.plural if reference.get("kind") == ROLE.kind else CLUSTER_ROLE.plural
        name = str(reference.get("name", ""))
        may = Attributes(verb, kind.group, plural, "", target.namespace, name)
    if rbac.decide(user, may).allowed:
        return
    if missing := rbac.missing(user, target.namespace, wanted):
        raise _refusal(kind, str((obj.get("metadata") or {}).get("name", "")), user, missing)


def check_patch(
    rbac: Rbac, machine: Machine, user: User, write: tuple[Target, object, PatchType]
) -> None:
    """As ``check``, for what a patch would make of the stored object."""
    target, patch, patch_type = write
    if target.kind not in _ROLES + _BINDINGS or MASTERS in user.groups:
        return
    current = machine.lookup(target.kind, target.namespace, target.name)
    if current is not None:
        changed = patches.apply(target.kind, current, patch, patch_type)
        check(rbac, machine, user, (target, changed))


def _refusal(kind: Kind, name: str, user: User, missing: list[str]) -> Forbidden:
    groups = " ".join(f'"{group}"' for group in user.groups)
    return Forbidden(
        f'{kind.resource} "{name}" is forbidden: user "{user.name}" (groups=[{groups}]) is '
        "attempting to grant RBAC permissions not currently held:\n" + "\n".join(missing),
        {"name": name, "group": kind.group, "kind": kind.plural},
    )
