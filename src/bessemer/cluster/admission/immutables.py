"""What may not change once it is stored, beyond what a kind's own rules say.

Source: pkg/apis/core/validation and pkg/registry/*/strategy.
"""

from __future__ import annotations

from collections.abc import Mapping

from bessemer.resources import meta, rules
from bessemer.resources.kind import Cause, Kind, Object

# Of each kind the dotted paths that stay as they were.
_PATHS: Mapping[str, tuple[str, ...]] = {
    "deployments.apps": ("spec.selector",),
    "replicasets.apps": ("spec.selector",),
    "jobs.batch": ("spec.completionMode", "spec.selector", "spec.template"),
    "rolebindings.rbac.authorization.k8s.io": ("roleRef",),
    "clusterrolebindings.rbac.authorization.k8s.io": ("roleRef",),
    "secrets": ("type",),
    "endpointslices.discovery.k8s.io": ("addressType",),
}


def check(kind: Kind, new: Object, old: Object) -> list[Cause]:
    """The fields that changed and must not."""
    causes = []
    for path in _PATHS.get(kind.resource, ()):
        value = meta.dig(new, path)
        if value != meta.dig(old, path):
            causes.append(_cause(path, value))
    if kind.resource in ("configmaps", "secrets") and old.get("immutable"):
        causes += [
            rules.forbidden(key, "field is immutable when `immutable` is set")
            for key in ("immutable", "data", "binaryData", "stringData")
            if new.get(key) != old.get(key)
        ]
    return causes


def _cause(path: str, value: object) -> Cause:
    if path == "roleRef":
        return rules.bad(path, value, "cannot change roleRef")
    return rules.immutable(path, value)
