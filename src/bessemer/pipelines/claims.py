"""CreatePVC and DeletePVC of kfp-kubernetes: what they ask of the cluster. Pure.

Source: backend/src/v2/driver/k8s.go createPVC, deletePVC. Unlike there they are never taken from
the cache: an equal earlier task says nothing of whether its claim is still there.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from bessemer.base.errors import BessemerError
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIM
from bessemer.pipelines import types
from bessemer.pipelines.actions import CreateClaim, DeleteClaim
from bessemer.pipelines.records import Run, Task
from bessemer.pipelines.spec.model import Claim

ARTIFACTS = "pipeline-artifacts"  # the claim of the outputs themselves
TASK_ANNOTATION = "bessemer.dev/task-id"
# Upstream's, where none is given; "" asks for a volume that somebody made beforehand.
_CLASS = "standard"


class InvalidClaim(BessemerError):
    """The inputs of CreatePVC or DeletePVC fit no claim."""


def make_action(
    deed: Claim, task: Task, run: Run, *, again: bool = False
) -> CreateClaim | DeleteClaim:
    """What the task asks for.

    Raises:
        InvalidClaim: its inputs fit no claim.
    """
    given = task.inputs.parameters
    if deed is Claim.CREATE:
        return CreateClaim(task.id, make(given, task.id, run.namespace))
    name = given.get("pvc_name")
    if not name or name == ARTIFACTS:
        raise InvalidClaim(
            f"DeletePVC needs a claim's name other than {ARTIFACTS!r}, which holds the artifacts "
            f"of all runs, but got {types.shorten(name)}"
        )
    return DeleteClaim(task.id, str(name), again)


def make(given: Mapping[str, Any], task_id: str, namespace: str) -> Object:
    """The claim of a CreatePVC's inputs.

    Its name depends on the task alone where it is made up, so that a crash makes no second one.

    Raises:
        InvalidClaim: both ``pvc_name`` and ``pvc_name_suffix`` are given.
    """
    name, suffix = given.get("pvc_name") or "", given.get("pvc_name_suffix") or ""
    if name and suffix:
        raise InvalidClaim(
            "CreatePVC takes at most one of pvc_name and pvc_name_suffix, but got "
            f"{name!r} and {suffix!r}"
        )
    spec: Object = {
        "accessModes": list(given.get("access_modes") or ()),
        "resources": {"requests": {"storage": given.get("size") or ""}},
        "storageClassName": _CLASS
        if given.get("storage_class_name") is None
        else given["storage_class_name"],
    }
    for key, field in (("volume_name", "volumeName"), ("data_source", "dataSource")):
        if given.get(key):
            spec[field] = given[key]
    made_up = f"{uuid.uuid5(uuid.NAMESPACE_OID, f'{task_id}/claim')}{suffix}"
    claim = meta.new(PERSISTENT_VOLUME_CLAIM, name or made_up, namespace, spec=spec)
    annotations = {
        key: types.to_text(one) for key, one in (given.get("annotations") or {}).items()
    }
    claim["metadata"]["annotations"] = {**annotations, TASK_ANNOTATION: task_id}
    return claim


def is_of(claim: Object, task_id: str) -> bool:
    """Whether that task made the claim: before a crash, say."""
    annotations = claim["metadata"].get("annotations") or {}
    return bool(annotations.get(TASK_ANNOTATION) == task_id)
