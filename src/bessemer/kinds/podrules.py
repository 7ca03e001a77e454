"""What a pod's spec must fulfil. Source: pkg/apis/core/validation/validation.go.

Which fields a cluster can fulfil is not said here: that is each cluster's own affair.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from bessemer.kinds import containerrules, rules
from bessemer.kinds.kind import Cause, Object

_RESTART = ("Always", "OnFailure", "Never")
_DNS = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
_HOST_PATHS = ("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File",
               "FileOrCreate", "Socket")  # fmt: skip
_MOST_VOLUMES = 1024
_MAX_INT32 = 2**31 - 1
_LEAST_TOKEN, _MOST_TOKEN = 600, 2**32  # seconds


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
    return causes


def _check_volumes(volumes: Collection[Object], field: str) -> list[Cause]:
    if len(volumes) > _MOST_VOLUMES:
        return [rules.too_many(field, len(volumes), _MOST_VOLUMES)]
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
    causes: list[Cause] = []
    if name == "hostPath":
        causes += rules.one_of(f"{path}.type", source.get("type") or "", _HOST_PATHS)
    if name == "secret" and not source.get("secretName"):
        causes.append(rules.required(f"{path}.secretName"))
    if name == "configMap" and not source.get("name"):
        causes.append(rules.required(f"{path}.name"))
    causes += _check_items(source, path)
    for index, projection in enumerate(source.get("sources") or () if name == "projected" else ()):
        inner = f"{path}.sources[{index}]"
        for key in projection:
            causes += _check_items(projection[key], f"{inner}.{key}")
        seconds = (projection.get("serviceAccountToken") or {}).get("expirationSeconds")
        if seconds is not None and not _LEAST_TOKEN <= seconds <= _MOST_TOKEN:
            text = (
                "may not specify a duration less than 10 minutes"
                if seconds < _LEAST_TOKEN
                else "may not specify a duration larger than 2^32 seconds"
            )
            field = f"{inner}.serviceAccountToken.expirationSeconds"
            causes.append(rules.bad(field, seconds, text))
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
