"""Claims are kept while pods use them: the finalizer that says so, from the start.

Source: k8s.io/kubernetes plugin/pkg/admission/storage/storageobjectinuseprotection.
"""

from __future__ import annotations

from bessemer.kinds.kind import Kind, Object
from bessemer.kinds.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIM, PROTECTION


def admit_create(kind: Kind, obj: Object) -> None:
    """Add the finalizer; its controller takes it away (``workloads.protection``)."""
    if kind is PERSISTENT_VOLUME_CLAIM:
        found = obj["metadata"].get("finalizers") or []
        if PROTECTION not in found:
            obj["metadata"]["finalizers"] = [*found, PROTECTION]
