"""PersistentVolumeClaim: a folder that outlives pods."""

from __future__ import annotations

from bessemer.kinds import columns, meta, rules
from bessemer.kinds.kind import Cause, Column, Kind, Object

#: The finalizer that keeps a claim while pods use it.
PROTECTION = "kubernetes.io/pvc-protection"
_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
_FIXED_TEXT = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName "
    "for bound claims"
)

_EMPTY_TEXT = "not supported by this cluster: a volume is empty at first; remove it"
_UNBOUND_TEXT = "not supported by this cluster: no volume is there before its claim; remove it"


def _default(obj: Object) -> None:
    obj.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")


def _validate(new: Object, old: Object | None) -> list[Cause]:
    spec = new["spec"]
    causes: list[Cause] = []
    modes = spec.get("accessModes") or ()
    if not modes:
        causes.append(rules.required("spec.accessModes", "at least 1 access mode is required"))
    for mode in modes:
        causes += rules.one_of("spec.accessModes", mode, _MODES)
    if not meta.dig(spec, "resources.requests.storage"):
        causes.append(rules.required("spec.resources[storage]"))
    if spec["volumeMode"] != "Filesystem":
        causes.append(rules.unsupported("spec.volumeMode", spec["volumeMode"], ("Filesystem",)))
    for field in ("dataSource", "dataSourceRef"):
        if spec.get(field):
            causes.append(rules.forbidden(f"spec.{field}", _EMPTY_TEXT))
    if old is None and spec.get("volumeName"):
        causes.append(rules.forbidden("spec.volumeName", _UNBOUND_TEXT))
    if old is not None and _fixed(spec, old) != _fixed(old["spec"], old):
        causes.append(rules.forbidden("spec", _FIXED_TEXT))
    return causes


def _fixed(spec: Object, old: Object) -> Object:
    changeable = ["resources", "volumeAttributesClassName"]
    if not old["spec"].get("volumeName"):
        changeable.append("volumeName")  # the binding fills it, once
    return {key: value for key, value in spec.items() if key not in changeable}


def _access(obj: Object) -> str:
    modes = meta.dig(obj, "status.accessModes") or ()
    return ",".join(_MODES.get(mode, mode) for mode in modes)


PERSISTENT_VOLUME_CLAIM = Kind(
    "",
    "v1",
    "PersistentVolumeClaim",
    "persistentvolumeclaims",
    singular="persistentvolumeclaim",
    short_names=("pvc",),
    subresources=frozenset({"status"}),
    schema="core.v1.PersistentVolumeClaim",
    default=_default,
    validate=_validate,
    columns=(
        columns.NAME,
        Column("Status", columns.phase),
        Column("Volume", columns.path("spec.volumeName", "")),
        Column("Capacity", columns.path("status.capacity.storage", "")),
        Column("Access Modes", _access),
        Column("StorageClass", columns.path("spec.storageClassName", "")),
        Column("VolumeAttributesClass", columns.path("spec.volumeAttributesClassName", "<unset>")),
        columns.AGE,
        Column("VolumeMode", columns.path("spec.volumeMode", "<unset>"), priority=1),
    ),
)
