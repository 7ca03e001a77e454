"""What the engine and the REST face share: runs, tasks, artifacts as the history keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Protocol


class RunState(StrEnum):
    """A run's state, as KFP's RuntimeState spells it."""

    PENDING = "PENDING"  # accepted, nothing done yet
    RUNNING = "RUNNING"  # some task may still act
    SUCCEEDED = "SUCCEEDED"  # every task that had to ended well
    FAILED = "FAILED"  # some task failed, or the run was terminated
    CANCELING = "CANCELING"  # terminate was asked; pods are ending, exit handlers may run
    CANCELED = "CANCELED"  # never a run's end here: official clients wait for ever on it
    SKIPPED = "SKIPPED"  # not used for runs
    PAUSED = "PAUSED"  # not used for runs


UNFINISHED = (RunState.PENDING, RunState.RUNNING, RunState.CANCELING)
FINAL = (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELED)


class TaskState(StrEnum):
    """A task's state; the first two are unfinished, the others final."""

    PENDING = "PENDING"  # waits for others, a retry's delay, or the loop's parallelism
    RUNNING = "RUNNING"  # its pod exists, or its children act
    SUCCEEDED = "SUCCEEDED"  # it ended well; outputs are there
    CACHED = "CACHED"  # the outputs of an equal earlier task were taken; REST says SKIPPED
    SKIPPED = "SKIPPED"  # its condition was false, or what it needs was skipped or failed
    FAILED = "FAILED"  # it ended badly, and has no retry left
    CANCELED = "CANCELED"  # the run was terminated before it ended


class TaskKind(StrEnum):
    """What a task is made of."""

    CONTAINER = "CONTAINER"  # a pod
    IMPORTER = "IMPORTER"  # an artifact from a URI, no pod
    CLAIM = "CLAIM"  # a PersistentVolumeClaim made or deleted, no pod
    DAG = "DAG"  # a sub-pipeline, condition branch, exit-handler body, or one loop iteration
    LOOP = "LOOP"  # a ParallelFor: its children are DAG iterations


@dataclass(frozen=True)
class Artifact:
    """A produced thing: where it is and what is known of it."""

    id: str
    name: str  # the output's name
    type: str  # schemaTitle: "system.Model"
    schema_version: str
    uri: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    custom_path: str = ""


@dataclass(frozen=True)
class Values:
    """Parameters by name, and artifact ids by name (a list, also for single artifacts)."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    artifacts: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class StateChange:
    """A moment in a state history."""

    state: str
    at: datetime
    error: str = ""


@dataclass(frozen=True)
class Task:
    """One task of a run: of a DAG component, a loop, an iteration or a pod."""

    id: str  # depends on run and path alone, so that a crash never doubles it
    run_id: str
    parent_id: str  # empty for the root DAG
    name: str  # its key in the parent's dag.tasks; the root's is "root"
    iteration: int  # index in a loop; -1 elsewhere
    kind: TaskKind
    state: TaskState
    display_name: str = ""
    attempt: int = 0  # of the pod that it has, or will have: they are counted from 0
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    retry_at: datetime | None = None  # not before then
    inputs: Values = Values()
    outputs: Values = Values()
    error: str = ""
    pod_name: str = ""
    task_root: str = ""  # where its outputs go
    fingerprint: str = ""  # cache key, empty when caching is off
    history: tuple[StateChange, ...] = ()


class Lease(NamedTuple):
    """Which replica drives a run, and the fencing token of its writes.

    The generation grows each time the run gets another owner, so that a write of an earlier one
    is known by it.
    """

    owner: str = ""  # a replica's id; empty: whoever takes it
    generation: int = 0


NOBODYS = Lease()


class Unfinished(NamedTuple):
    """A run to be driven, as the engine looks for those."""

    id: str
    state: RunState
    lease: Lease


@dataclass(frozen=True)
class Run:
    """A submitted pipeline with its arguments, and how far it got."""

    id: str
    namespace: str
    display_name: str
    spec: Mapping[str, Any]  # the pipeline IR, as submitted
    platform_spec: Mapping[str, Any]  # second document of the IR, empty if none
    parameters: Mapping[str, Any]
    state: RunState
    created_at: datetime
    experiment_id: str = ""
    pipeline_id: str = ""
    pipeline_version_id: str = ""
    recurring_run_id: str = ""
    pipeline_root: str = ""  # empty: the namespace's default
    service_account: str = ""
    description: str = ""
    storage_state: str = "AVAILABLE"  # or ARCHIVED
    scheduled_at: datetime | None = None
    finished_at: datetime | None = None
    error: str = ""
    history: tuple[StateChange, ...] = ()
    plugins_input: Mapping[str, Any] = field(default_factory=dict)  # kept and echoed
    lease: Lease = NOBODYS


class History(Protocol):
    """The engine's view of the pipelines database. Each method is one transaction.

    Laws: what ``save`` returned from is durable; tasks and artifacts are replaced by id;
    a run's state never leaves SUCCEEDED or FAILED but by ``retry``. Of several replicas one drives
    a run, its owner: what another one saves is refused and stores nothing.
    """

    async def list_unfinished(self) -> list[Unfinished]:
        """The runs that must be driven, by whomever, oldest first."""
        ...

    async def load_run(self, run_id: str) -> tuple[Run, list[Task], list[Artifact]] | None:
        """A run with all its tasks and the artifacts that they name; None when deleted."""
        ...

    async def save(
        self,
        run: Run | None,
        tasks: Sequence[Task] = (),
        artifacts: Sequence[Artifact] = (),
        lease: Lease = NOBODYS,
    ) -> None:
        """Store the engine's columns of the run (state, times, error, history) and the rows.

        Raises:
            LeaseLost: the run has another lease than that; nothing is stored.
        """
        ...

    async def beat(self, replica: str) -> bool:
        """Tell the others that the replica lives; False: they had taken it for dead, or new."""
        ...

    async def beats(self) -> Mapping[str, int]:
        """How often each replica that is there told that it lives."""
        ...

    async def take(
        self, replica: str, wanted: Sequence[Unfinished], dead: Mapping[str, int] | None
    ) -> set[str]:
        """Make the replica the owner of runs that have the leases they were seen with; which.

        ``dead`` tells of each owner that is taken for dead how often it had told that it lives, 0
        of one that is not there: the runs of one that has told it again are left to it. None:
        there can be no other replica.
        """
        ...

    async def release(self, replica: str) -> None:
        """Let others have the replica's runs at once; it writes nothing more."""
        ...

    async def find_cached(
        self, namespace: str, pipeline_name: str, fingerprint: str
    ) -> tuple[Task, list[Artifact]] | None:
        """The newest SUCCEEDED task with that fingerprint, and its output artifacts."""
        ...

    async def find_artifact(
        self, namespace: str, uri: str, type_: str, metadata: Mapping[str, Any]
    ) -> Artifact | None:
        """An imported artifact to reuse (importer with reimport=false)."""
        ...
