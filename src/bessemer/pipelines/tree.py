"""The tree of a run's tasks in memory: nodes, their ids, paths, pod names and scopes. Pure."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bessemer.base import ids
from bessemer.base.clock import format_time
from bessemer.pipelines import placeholders
from bessemer.pipelines.records import Run, Task, TaskState, Values
from bessemer.pipelines.spec.model import Component, Dag, Retry, TaskSpec

#: States that a task never leaves.
FINAL = frozenset(
    {
        TaskState.SUCCEEDED,
        TaskState.CACHED,
        TaskState.SKIPPED,
        TaskState.FAILED,
        TaskState.CANCELED,
    }
)
#: Final states that give outputs.
DONE_WELL = frozenset({TaskState.SUCCEEDED, TaskState.CACHED})

# Which states may follow which; a task that has no row yet is None.
TRANSITIONS: dict[TaskState | None, frozenset[TaskState]] = {
    None: frozenset(TaskState),
    TaskState.PENDING: frozenset(TaskState) - {TaskState.PENDING},
    TaskState.RUNNING: frozenset(TaskState) - {TaskState.RUNNING},
    **dict.fromkeys(FINAL, frozenset()),
}

# As MLMD spells a task's end; what PipelineTaskFinalStatus.state is in open source KFP.
_FINAL_STATUS = {
    TaskState.SUCCEEDED: "COMPLETE",
    TaskState.CACHED: "COMPLETE",
    TaskState.FAILED: "FAILED",
    TaskState.CANCELED: "CANCELED",
}
_FAILED_PRECONDITION = 9  # google.rpc.Code, as upstream reports a failed task


@dataclass(slots=True, eq=False)
class Node:
    """A task that may act: its place in the tree, and what it waits for."""

    path: str  # "" for the root, "train", "loop-1/3/train"
    spec: TaskSpec
    component: Component
    parent: Node | None
    task: Task | None = None  # its row; None until it began or ended
    iteration: int = -1
    retry: Retry | None = None  # its own policy, or the nearest one above
    waiting: int = 0  # siblings that must end before it may begin
    open: int = 0  # children that have not ended
    children: dict[str, Node] = field(default_factory=dict)  # of loops by index
    items: list[Any] | None = None  # a loop's, once it began
    started: int = 0  # a loop's iterations begun so far
    given: Values = field(default_factory=Values)  # its inputs
    extra: dict[str, Any] = field(default_factory=dict)  # inputs only for placeholders

    @property
    def is_loop(self) -> bool:
        """Whether its children are iterations."""
        return self.spec.iterator is not None and self.iteration < 0

    @property
    def is_fresh(self) -> bool:
        """Whether it did not begin, or is to begin again: its row only counts its attempts."""
        task = self.task
        return task is None or (task.state is TaskState.PENDING and not task.pod_name)

    @property
    def state(self) -> TaskState | None:
        """Its row's state."""
        return self.task.state if self.task else None


def task_id(run_id: str, path: str) -> str:
    """A UUID that depends on run and path alone."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{run_id}/{path}"))


def artifact_id(task: str, attempt: int, name: str, index: int = 0) -> str:
    """A UUID that depends on the producing attempt, the output and its place in a list."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{task}/{attempt}/{name}/{index}"))


def pod_name(run_id: str, path: str, name: str, attempt: int) -> str:
    """Readable and unique: the task's name, and a hash of run, path and attempt."""
    readable = re.sub(r"[^a-z0-9-]", "-", name.lower())[:40].strip("-") or "task"
    return f"{readable}-{ids.hash_name(run_id, path, str(attempt))}"


def attempts(task: Task) -> int:
    """The pods started since the task began, or was last retried by hand.

    That is marked by a PENDING without a reason (``retrying``).
    """
    count = 0
    for change in reversed(task.history):
        if change.state == TaskState.PENDING and not change.error:
            break
        count += change.state == TaskState.RUNNING and not change.error  # else it is a note
    return count


def earlier_pods(task: Task, by_id: Mapping[str, Task]) -> list[str]:
    """The pods of a task's attempts before the one that its row names, oldest first.

    ``by_id`` are the run's tasks: where the task is in the tree is told by those above it.
    """
    if not task.attempt:
        return []
    steps = []
    above: Task | None = task
    while above is not None and above.parent_id:
        steps.append(str(above.iteration) if above.iteration >= 0 else above.name)
        above = by_id.get(above.parent_id)
    path = "/".join(reversed(steps))
    return [pod_name(task.run_id, path, task.name, one) for one in range(task.attempt)]


def task_root(run_root: str, path: str, attempt: int) -> str:
    """The folder of one attempt's outputs; names of tasks hold no dots."""
    return f"{run_root}/{path}" + (f".{attempt}" if attempt else "")


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What every task of a run may ask for."""

    run: Run
    pipeline: str
    run_root: str  # the folder of its outputs

    @property
    def resource_name(self) -> str:
        """As upstream names a run's Workflow: the pipeline's name and a few letters."""
        return f"{self.pipeline}-{ids.hash_name(self.run.id, length=5)}"


class DagScope:
    """What the tasks of one DAG node see."""

    def __init__(self, facts: RunFacts, node: Node, task_name: str) -> None:
        self._facts = facts
        self._node = node
        self._task_name = task_name

    @property
    def given(self) -> Values:
        """What the DAG was given."""
        return self._node.given

    def items(self) -> Iterator[tuple[str, Any]]:
        """The items of the loops around it, by their names, nearest first."""
        node: Node | None = self._node
        while node is not None:
            iterator = node.spec.iterator if node.iteration >= 0 else None
            if iterator is not None and iterator.item_input in node.given.parameters:
                yield iterator.item_input, node.given.parameters[iterator.item_input]
            node = node.parent

    def outputs(self, task: str) -> Values | None:
        """What a sibling produced; None unless it ended well."""
        sibling = self._node.children[task].task
        return sibling.outputs if sibling and sibling.state in DONE_WELL else None

    def final_status(self, task: str) -> dict[str, Any]:
        """How a sibling ended, as PipelineTaskFinalStatus."""
        sibling = self._node.children[task].task
        state = sibling.state if sibling else TaskState.SKIPPED
        status: dict[str, Any] = {
            "state": _FINAL_STATUS.get(state, "SKIPPED"),
            "pipelineJobResourceName": self._facts.resource_name,
            "pipelineTaskName": task,
            "error": {},
        }
        if sibling and state is TaskState.FAILED:
            status["error"] = {"code": _FAILED_PRECONDITION, "message": sibling.error}
        return status

    def constant(self, path: str) -> Any:
        """The run's own facts."""
        run = self._facts.run
        scheduled = run.scheduled_at or run.created_at
        values = {
            ".pipeline_job_name": run.display_name,
            ".pipeline_job_resource_name": self._facts.resource_name,
            ".pipeline_job_uuid": run.id,
            ".pipeline_task_name": self._task_name,
            ".pipeline_task_uuid": task_id(run.id, self._node.path),
            ".pipeline_job_create_time_utc": format_time(run.created_at),
            ".pipeline_job_schedule_time_utc": format_time(scheduled),
            ".pipeline_root": self._facts.run_root,
        }
        return values.get(path, placeholders.UNKNOWN)


def dag_outputs(node: Node) -> Values:
    """A DAG's outputs: of each, the first producer that ended well and has it."""
    body = node.component.body
    assert isinstance(body, Dag), "only DAGs have outputs of others"
    parameters: dict[str, Any] = {}
    artifacts: dict[str, Any] = {}
    for key, selectors in body.parameters.items():
        for selector in selectors:
            made = _made(node, selector.task)
            if selector.key in made.parameters:
                parameters[key] = made.parameters[selector.key]
                break
    for key, selectors in body.artifacts.items():
        for selector in selectors:
            made = _made(node, selector.task)
            if selector.key in made.artifacts:
                artifacts[key] = made.artifacts[selector.key]
                break
    return Values(parameters, artifacts)


def _made(node: Node, name: str) -> Values:
    task = node.children[name].task
    return task.outputs if task and task.state in DONE_WELL else Values()


def loop_outputs(node: Node) -> Values:
    """A loop's outputs, in the order of its items: parameters nest, artifacts flatten.

    An iteration that made none (its task was skipped) is left out.
    """
    made = [_made(node, str(index)) for index in range(len(node.children))]
    parameters = {
        key: [values.parameters[key] for values in made if key in values.parameters]
        for key in node.component.output_parameters
    }
    artifacts = {
        key: [one for values in made for one in values.artifacts.get(key, ())]
        for key in node.component.output_artifacts
    }
    return Values(parameters, artifacts)
