"""What the machine itself sets on an object, and what a client can't change. Pure.

Source: k8s.io/apiserver/pkg/registry/rest/{create,update,meta}.go, pkg/registry/*/strategy.go.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from bessemer.base import ids
from bessemer.base.clock import format_time
from bessemer.kinds.kind import Cause, Kind, Object
from bessemer.kinds.lease import LEASE
from bessemer.kube import errors

# generateName's base is cut so that the name with its suffix stays a label.
_GENERATED_BASE_CHARS = 63 - 5
# What an object's status is before any controller saw it. Source: each kind's strategy.
_FIRST_STATUS: dict[str, Object] = {
    "pods": {"phase": "Pending"},
    "namespaces": {"phase": "Active"},
    "persistentvolumeclaims": {"phase": "Pending"},
    "services": {"loadBalancer": {}},
    "deployments.apps": {},
    "replicasets.apps": {"replicas": 0},
    "jobs.batch": {},
}
# metadata that only the machine writes.
_OURS = (
    "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation",
    "generateName", "name", "namespace",
)  # fmt: skip
_DROPPED = ("selfLink", "managedFields")


def identify(kind: Kind, obj: Object, namespace: str, name: str) -> Object:
    """The object with a metadata of its own whose type, namespace and name fit the request.

    Raises:
        BadRequest: it is another kind's, or its place is not where the request goes.
    """
    found = obj.get("metadata")
    if found is not None and not isinstance(found, dict):
        raise errors.BadRequest(f"metadata must be an object, but got {type(found).__name__}")
    _check_type(kind, obj)
    metadata: dict[str, Any] = dict(found or {})
    for key in _DROPPED:
        metadata.pop(key, None)
    if kind.namespaced:
        inside = metadata.get("namespace") or namespace
        if not inside:
            raise errors.BadRequest("an empty namespace may not be set during creation")
        if namespace and inside != namespace:
            raise errors.BadRequest(
                f"the namespace of the provided object ({inside}) does not match the namespace "
                f"sent on the request ({namespace})"
            )
        metadata["namespace"] = inside
    else:
        metadata.pop("namespace", None)
    if name and metadata.setdefault("name", name) != name:
        raise errors.BadRequest(
            f"the name of the object ({metadata['name']}) does not match the name on the URL "
            f"({name})"
        )
    head = {"apiVersion": kind.api_version, "kind": kind.kind}
    return {**head, **obj, "metadata": metadata}


def _check_type(kind: Kind, obj: Object) -> None:
    if obj.get("apiVersion", kind.api_version) != kind.api_version:
        raise errors.BadRequest(
            f"the API version in the data ({obj['apiVersion']}) does not match the expected API "
            f"version ({kind.api_version})"
        )
    if obj.get("kind", kind.kind) != kind.kind:
        raise errors.BadRequest(
            f"the kind in the data ({obj['kind']}) does not match the expected kind ({kind.kind})"
        )


def prepare_create(kind: Kind, obj: Object, now: datetime) -> None:
    """Set on a new object (with a metadata of its own) what the machine owns.

    Raises:
        BadRequest, Invalid: it has a resourceVersion already, or no usable name.
    """
    metadata = obj["metadata"]
    if metadata.pop("resourceVersion", None):
        raise errors.BadRequest("resourceVersion should not be set on objects to be created")
    for key in ("deletionTimestamp", "deletionGracePeriodSeconds", "generation"):
        metadata.pop(key, None)
    if not metadata.get("name"):
        metadata["name"] = _generate_name(kind, metadata)
    _check_name(kind, metadata["name"])
    metadata["uid"] = ids.make_uid()
    metadata["creationTimestamp"] = format_time(now)
    if "status" in kind.subresources:
        metadata["generation"] = 1
        obj.pop("status", None)
    if (first := _FIRST_STATUS.get(kind.resource)) is not None:
        obj["status"] = dict(first)
    if kind.resource == "namespaces":
        obj["spec"] = {**_mapping(obj.get("spec")), "finalizers": ["kubernetes"]}


def _generate_name(kind: Kind, metadata: Object) -> str:
    base = metadata.get("generateName")
    if not base:
        cause = Cause("metadata.name", "Required value: name or generateName is required",
                      "FieldValueRequired")  # fmt: skip
        raise errors.invalid(kind, "", [cause])
    return str(base)[:_GENERATED_BASE_CHARS] + ids.make_suffix()


def _check_name(kind: Kind, name: object) -> None:
    # The least that a path and the file need; a kind's own form is admission's.
    broken = ""
    if not isinstance(name, str):
        broken = "must be a string"
    elif name in (".", ".."):
        broken = f"may not be '{name}'"
    else:
        broken = next((f"may not contain '{sign}'" for sign in "/%" if sign in name), "")
    if broken:
        shown = f'Invalid value: "{name}": {broken}'
        raise errors.invalid(kind, str(name), [Cause("metadata.name", shown)])


def prepare_update(kind: Kind, new: Object, old: Object, subresource: str) -> Object:
    """The new object with everything that this write can't change as it was.

    Raises:
        Conflict: it was read before somebody else's write, or is another object of that name.
        Invalid: it has no resourceVersion, and the kind is never overwritten unseen.
    """
    metadata, before = new["metadata"], old["metadata"]
    name = before["name"]
    if (uid := metadata.get("uid")) and uid != before["uid"]:
        why = (
            f"Precondition failed: UID in precondition: {uid}, UID in object meta: {before['uid']}"
        )
        raise errors.conflict(kind, name, why)
    version = metadata.get("resourceVersion")
    if version and version != before["resourceVersion"]:
        raise errors.conflict(kind, name)
    if not version and _is_guarded(kind):
        text = "Invalid value: 0x0: must be specified for an update"
        raise errors.invalid(kind, name, [Cause("metadata.resourceVersion", text)])
    match subresource:
        case "status":
            return _with_part(old, new, "status")
        case "finalize":
            finalizers = _mapping(new.get("spec")).get("finalizers") or []
            return {**old, "spec": {**_mapping(old.get("spec")), "finalizers": finalizers}}
        case _:
            return _prepare_main(kind, new, old)


def _is_guarded(kind: Kind) -> bool:
    """Source: AllowUnconditionalUpdate of leases and of custom resources."""
    return kind.custom or kind is LEASE


def _with_part(old: Object, new: Object, part: str) -> Object:
    result = {key: value for key, value in old.items() if key != part}
    if part in new:
        result[part] = new[part]
    return result


def _prepare_main(kind: Kind, new: Object, old: Object) -> Object:
    metadata, before = dict(new["metadata"]), old["metadata"]
    for key in _OURS:
        if key in before:
            metadata[key] = before[key]
        else:
            metadata.pop(key, None)
    metadata["resourceVersion"] = before["resourceVersion"]
    result = {**new, "metadata": metadata}
    if "status" in kind.subresources:
        result = _with_part(result, old, "status")
    if kind.resource == "namespaces":
        finalizers = _mapping(old.get("spec")).get("finalizers") or []
        result["spec"] = {**_mapping(new.get("spec")), "finalizers": finalizers}
    return result


def _mapping(value: Any) -> Object:
    # Admission checks the structure after this; a wrong one must only get that far.
    return value if isinstance(value, dict) else {}


def finish_update(kind: Kind, new: Object, old: Object) -> Object | None:
    """The new object as it is to be stored; None when the write changes nothing.

    Raises:
        Invalid: a finalizer was added to an object that is being deleted.
    """
    if new == old:
        return None
    metadata, before = dict(new["metadata"]), old["metadata"]
    if before.get("deletionTimestamp"):
        had = before.get("finalizers") or ()
        added = [name for name in metadata.get("finalizers") or () if name not in had]
        if added:
            shown = " ".join(f'"{name}"' for name in added)
            text = (
                "Forbidden: no new finalizers can be added if the object is being deleted, "
                f"found new finalizers []string{{{shown}}}"
            )
            raise errors.invalid(
                kind, before["name"], [Cause("metadata.finalizers", text, "FieldValueForbidden")]
            )
    if "status" in kind.subresources and _spec_changed(new, old):
        metadata["generation"] = before.get("generation", 0) + 1
    return {**new, "metadata": metadata}


def _spec_changed(new: Object, old: Object) -> bool:
    keys = (new.keys() | old.keys()) - {"metadata", "status"}
    return any(new.get(key) != old.get(key) for key in keys)
