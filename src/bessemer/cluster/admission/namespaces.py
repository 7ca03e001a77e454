"""Namespace life: an object needs one that exists and is not ending.

Source: k8s.io/apiserver pkg/admission/plugin/namespace/lifecycle.
"""

from __future__ import annotations

from bessemer.cluster.admission.lookup import Lookup
from bessemer.kinds import meta
from bessemer.kinds.kind import Kind, Object
from bessemer.kinds.namespace import NAMESPACE, SYSTEM_NAMESPACE
from bessemer.kube.errors import NAMESPACE_TERMINATING, Forbidden, not_found

# What everything else leans on; upstream has default, kube-system and kube-public.
IMMORTAL = frozenset({"default", "kube-system", SYSTEM_NAMESPACE})


def admit_create(kind: Kind, obj: Object, lookup: Lookup) -> None:
    """Raise NotFound or Forbidden where the namespace can't take the object."""
    if not kind.namespaced:
        return
    name = obj["metadata"].get("namespace", "")
    namespace = lookup(NAMESPACE, "", name)
    if namespace is None:
        raise not_found(NAMESPACE, name)
    if meta.is_deleting(namespace):
        thing = obj["metadata"].get("name", "")
        cause = {
            "reason": NAMESPACE_TERMINATING,
            "message": f"namespace {name} is being terminated",
            "field": "metadata.namespace",
        }
        raise Forbidden(
            f'{kind.resource} "{thing}" is forbidden: unable to create new content in namespace '
            f"{name} because it is being terminated",
            {"name": thing, "group": kind.group, "kind": kind.plural, "causes": [cause]},
        )


def admit_delete(kind: Kind, obj: Object) -> None:
    """Raise Forbidden for the namespaces that everything leans on."""
    name = meta.name(obj)
    if kind is NAMESPACE and name in IMMORTAL:
        raise Forbidden(
            f'namespaces "{name}" is forbidden: this namespace may not be deleted',
            {"name": name, "kind": "namespaces"},
        )
