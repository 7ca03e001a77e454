"""What a pod's spec must fulfil. Source: pkg/apis/core/validation/validation.go.

What this cluster can't do is refused by name, so that nobody wonders why it has no effect; what
upstream itself ignores on a node without it (colours of Windows, say) is let through.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from bessemer.resources import containerrules, rules
from bessemer.resources.kind import Cause, Object

_RESTART = ("Always", "OnFailure", "Never")
_DNS = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
_MAX_INT32 = 2**31 - 1

# Fields that would change what a pod is, and that no part of us does: field -> why, and the cure.
_UNSUPPORTED: Mapping[str, str] = {
    "hostPID": "a pod always has its own process table; remove it",
    "hostIPC": "a pod never sees the machine's IPC; remove it",
    "shareProcessNamespace": "each container has its own processes; remove it",
    "ephemeralContainers": "they can't be set here; use the pod's logs",
    "resourceClaims": "there are no dynamic resources here; use resources.limits",
    "runtimeClassName": "there is one runtime; remove it",
    "overhead": "it is set by runtime classes, of which there are none; remove it",
    "schedulingGates": "pods are placed as they come; create the pod when it may start",
    "resources": "limits of a whole pod are not enforced; set each container's resources",
}
_VOLUMES = frozenset(
    {"emptyDir", "configMap", "secret", "persistentVolumeClaim", "projected", "downwardAPI",
     "hostPath"}
)  # fmt: skip
_PROJECTIONS = frozenset({"serviceAccountToken", "configMap", "secret", "downwardAPI"})


def check(spec: Object, field: str) -> list[Cause]:
    """The rules that a defaulted pod spec breaks; ``field`` is where it stands."""
    causes = _check_volumes(spec.get("volumes") or (), f"{field}.volumes")
    volumes = {volume.get("name") for volume in spec.get("volumes") or ()}
    causes += containerrules.check_all(spec, field, volumes)
    causes += rules.one_of(f"{field}.restartPolicy", spec.get("restartPolicy"), _RESTART)
    causes += rules.one_of(f"{field}.dnsPolicy", spec.get("dnsPolicy"), _DNS)
    grace = spec.get("terminationGracePeriodSeconds")
    causes += rules.not_negative(f"{field}.terminationGracePeriodSeconds", grace)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= _MAX_INT32:
        text = f"must be between 1 and {_MAX_INT32}, inclusive"
        causes.append(rules.bad(f"{field}.activeDeadlineSeconds", deadline, text))
    if account := spec.get("serviceAccountName"):
        causes += rules.subdomain(f"{field}.serviceAccountName", account)
    for name in ("hostname", "subdomain"):
        if value := spec.get(name):
            causes += rules.label(f"{field}.{name}", value)
    causes += rules.labels(f"{field}.nodeSelector", spec.get("nodeSelector") or {})
    causes += [
        rules.forbidden(f"{field}.{name}", f"not supported by this cluster: {why}")
        for name, why in _UNSUPPORTED.items()
        if spec.get(name)
    ]
    return causes


def _check_volumes(volumes: Collection[Object], field: str) -> list[Cause]:
    causes: list[Cause] = []
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        path = f"{field}[{index}]"
        name = volume.get("name", "")
        causes += rules.label(f"{path}.name", name) if name else []
        if name in seen:
            causes.append(rules.duplicate(f"{path}.name", name))
        seen.add(name)
        sources = [key for key in volume if key != "name"]
        for extra in sources[1:]:
            causes.append(
                rules.forbidden(f"{path}.{extra}", "may not specify more than 1 volume type")
            )
        for source in sources[:1]:
            causes += _check_source(volume[source], f"{path}.{source}", source)
    return causes


def _check_source(source: Any, path: str, name: str) -> list[Cause]:
    if name not in _VOLUMES:
        why = f"volumes of type {name} are not supported by this cluster; use one of "
        return [rules.forbidden(path, why + ", ".join(sorted(_VOLUMES)))]
    causes: list[Cause] = []
    if name == "secret" and not source.get("secretName"):
        causes.append(rules.required(f"{path}.secretName"))
    if name == "configMap" and not source.get("name"):
        causes.append(rules.required(f"{path}.name"))
    causes += _check_items(source, path)
    for index, projection in enumerate(source.get("sources") or () if name == "projected" else ()):
        inner = f"{path}.sources[{index}]"
        for key in projection:
            if key not in _PROJECTIONS:
                text = f"projections of type {key} are not supported by this cluster"
                causes.append(rules.forbidden(f"{inner}.{key}", text))
            else:
                causes += _check_items(projection[key], f"{inner}.{key}")
        seconds = (projection.get("serviceAccountToken") or {}).get("expirationSeconds")
        if seconds is not None and seconds < 600:
            causes.append(
                rules.bad(
                    f"{inner}.serviceAccountToken.expirationSeconds",
                    seconds,
                    "may not specify a duration less than 10 minutes",
                )
            )
    return causes


def _check_items(source: Object, path: str) -> list[Cause]:
    causes = []
    for index, item in enumerate(source.get("items") or ()):
        inner = f"{path}.items[{index}].path"
        causes += local_path(inner, item.get("path", ""))
    return causes


def local_path(field: str, value: str) -> list[Cause]:
    """A path that stays where it begins."""
    if not value:
        return [rules.required(field)]
    if value.startswith("/"):
        return [rules.bad(field, value, "must be a relative path")]
    if ".." in value.split("/"):
        return [rules.bad(field, value, "must not contain '..'")]
    return []
