"""Nobody gives away rights that they don't hold: checked on writing roles and bindings.

Source: pkg/registry/rbac/{role,rolebinding}/policybased.
"""

from __future__ import annotations

from bessemer.cluster.admission import structure
from bessemer.cluster.apiserver.machine import Machine, own
from bessemer.cluster.apiserver.rbac import MASTERS, Rbac
from bessemer.kinds.kind import Kind, Object
from bessemer.kinds.rbac import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING
from bessemer.kube import patches
from bessemer.kube.access import Attributes, User
from bessemer.kube.client import PatchType
from bessemer.kube.errors import Forbidden, not_found
from bessemer.kube.requests import Target

_ROLES = (ROLE, CLUSTER_ROLE)
_BINDINGS = (ROLE_BINDING, CLUSTER_ROLE_BINDING)


def check(rbac: Rbac, machine: Machine, user: User, target: Target, obj: Object) -> None:
    """Refuse a write that would give rights that the user lacks.

    Raises:
        Forbidden: it would. NotFound: there is no such role, so nobody can tell.
        BadRequest, Invalid: the object can't be read.
    """
    kind = target.kind
    if MASTERS in user.groups or kind not in _ROLES + _BINDINGS:
        return
    obj = own(obj)
    structure.check(kind, obj)  # what follows reads its fields
    namespace = target.namespace if kind.namespaced else ""
    if kind in _ROLES:
        may = Attributes("escalate", kind.group, kind.plural, "", namespace, target.name)
        if rbac.decide(user, may).allowed:
            return
        wanted = obj.get("rules") or ()
    else:
        reference = obj["roleRef"]
        role = ROLE if reference["kind"] == ROLE.kind else CLUSTER_ROLE
        may = Attributes("bind", kind.group, role.plural, "", namespace, reference["name"])
        if rbac.decide(user, may).allowed:
            return
        # The role as it is stored, not as the index has it: it may have been widened just now.
        home = namespace if role.namespaced else ""
        found = machine.lookup(role, home, reference["name"])
        if found is None:
            raise not_found(role, reference["name"])
        wanted = found.get("rules") or ()
    if missing := rbac.missing(user, namespace, wanted):
        raise _refusal(kind, str((obj.get("metadata") or {}).get("name", "")), user, missing)


def check_patch(
    rbac: Rbac, machine: Machine, user: User, target: Target, patch: object, patch_type: PatchType
) -> None:
    """As ``check``, for what a patch would make of the stored object."""
    if target.kind not in _ROLES + _BINDINGS or MASTERS in user.groups:
        return
    current = machine.lookup(target.kind, target.namespace, target.name)
    if current is not None:
        changed = patches.apply(target.kind, current, patch, patch_type)
        check(rbac, machine, user, target, changed)


def _refusal(kind: Kind, name: str, user: User, missing: list[str]) -> Forbidden:
    groups = " ".join(f'"{group}"' for group in user.groups)
    return Forbidden(
        f'{kind.resource} "{name}" is forbidden: user "{user.name}" (groups=[{groups}]) is '
        "attempting to grant RBAC permissions not currently held:\n" + "\n".join(missing),
        {"name": name, "group": kind.group, "kind": kind.plural},
    )
