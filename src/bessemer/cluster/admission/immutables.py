"""What may not change once it is stored, beyond what a kind's own rules say.

Source: pkg/apis/core/validation and pkg/registry/*/strategy.
"""

from __future__ import annotations

from collections.abc import Mapping

from bessemer.kinds import meta, rules
from bessemer.kinds.kind import Cause, Kind, Object

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
        value, before = meta.dig(new, path), meta.dig(old, path)
        if value == before:
            continue
        if path == "spec.template" and _is_held(old) and _fixed(value) == _fixed(before):
            continue
        causes.append(_cause(path, value))
    if kind.resource in ("configmaps", "secrets") and old.get("immutable"):
        causes += [
            rules.forbidden(key, "field is immutable when `immutable` is set")
            for key in ("immutable", "data", "binaryData", "stringData")
            if new.get(key) != old.get(key)
        ]
    return causes


def _is_held(job: Object) -> bool:
    """Whether a suspended Job has nothing running: a queue may still place and size its pods."""
    status = job.get("status") or {}
    return bool(job["spec"].get("suspend")) and not (
        status.get("startTime") or status.get("active")
    )


def _fixed(template: Object) -> Object:
    """What of a held Job's template stays: all but where its pods go and what they ask for.

    Source: pkg/apis/batch/validation, validatePodTemplateUpdate and its options.
    """
    kept = meta.copy(template)
    for part in ("labels", "annotations"):
        kept.get("metadata", {}).pop(part, None)
    spec = kept.get("spec", {})
    for part in ("nodeSelector", "tolerations", "schedulingGates"):
        spec.pop(part, None)
    affinity = spec.pop("affinity", None) or {}
    for container in (*spec.get("containers", ()), *spec.get("initContainers", ())):
        container.pop("resources", None)
    others = {part: rule for part, rule in affinity.items() if part != "nodeAffinity"}
    return {"metadata": kept.get("metadata") or {}, "spec": spec, "affinity": others}


def _cause(path: str, value: object) -> Cause:
    if path == "roleRef":
        return rules.bad(path, value, "cannot change roleRef")
    return rules.immutable(path, value)
