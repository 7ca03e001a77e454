"""What a run's plan asks for; the reconciler does each, in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bessemer.kinds.kind import Object
from bessemer.pipelines.records import Artifact, Run, Task
from bessemer.pipelines.spec.model import Component
from bessemer.pipelines.tree import DagScope


@dataclass(frozen=True)
class Save:
    """Store these rows in one transaction, before any action after it."""

    run: Run | None
    tasks: tuple[Task, ...]
    artifacts: tuple[Artifact, ...]


@dataclass(frozen=True)
class CreatePod:
    """Have the pod of a task's attempt; done if there is one of that name."""

    task: Task
    component: Component
    artifacts: Mapping[str, Artifact]  # by id, the inputs
    settings: Mapping[str, Any]  # of the platform, resolved
    scope: DagScope
    extra: Mapping[str, Any]  # inputs that only placeholders see


@dataclass(frozen=True)
class DeletePod:
    """End a pod; done if there is none of that name."""

    name: str


@dataclass(frozen=True)
class LookUpCache:
    """Ask for an equal earlier task; answer with ``cache_found`` or ``cache_missed``."""

    task_id: str
    fingerprint: str


@dataclass(frozen=True)
class ImportArtifact:
    """Register an artifact (or find it, unless reimport).

    Answer with ``imported`` or ``refused``.
    """

    task_id: str
    importer: str  # the task's name
    artifact: Artifact
    reimport: bool


@dataclass(frozen=True)
class CreateClaim:
    """Have that PersistentVolumeClaim; answer with ``claim_done`` or ``refused``."""

    task_id: str
    claim: Object


@dataclass(frozen=True)
class DeleteClaim:
    """End a PersistentVolumeClaim; answer with ``claim_done`` or ``refused``.

    ``again``: it may be gone by an earlier try, of which a crash left no more than that it began.
    """

    task_id: str
    name: str
    again: bool


@dataclass(frozen=True)
class WakeAt:
    """Call ``wake`` then."""

    at: datetime


Action = (
    Save
    | CreatePod
    | DeletePod
    | LookUpCache
    | ImportArtifact
    | CreateClaim
    | DeleteClaim
    | WakeAt
)
