"""A failed run goes on: which of its tasks are done again, and which stay. Pure.

As upstream (``GenerateRetryExecution`` of its API server): what ended well stays; what failed, was
canceled, or was skipped because of these, is done again; a DAG or loop that failed goes on inside.
Unlike there, a task that runs whatever happened (an exit handler, ``ignore_upstream_failure``) and
its followers are done again where what it waited for is: what it was told is no longer true.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from bessemer.pipelines.records import StateChange, Task, TaskKind, TaskState, Values
from bessemer.pipelines.spec import Spec
from bessemer.pipelines.spec.model import Component, Dag

_WELL = (TaskState.SUCCEEDED, TaskState.CACHED)
_BRANCHES = (TaskKind.DAG, TaskKind.LOOP)


@dataclass(frozen=True)
class Reset:
    """The rows as the engine finds them when it goes on."""

    changed: tuple[Task, ...]
    forgotten: tuple[str, ...]  # ids of rows that never were


@dataclass
class _Rows:
    at: datetime
    below: Mapping[str, Sequence[Task]]
    changed: list[Task] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)

    def reopen(self, task: Task) -> None:
        """Let a DAG or loop go on."""
        self.changed.append(self._moved(task, TaskState.RUNNING))

    def begin_again(self, task: Task) -> None:
        """Forget a task and all below it; a container that had pods goes on counting them."""
        pending = [task]
        while pending:
            one = pending.pop()
            pending += self.below.get(one.id, ())
            had_pod = bool(one.pod_name)
            if one.kind is TaskKind.CONTAINER and (had_pod or one.attempt):
                fresh = replace(
                    self._moved(one, TaskState.PENDING),
                    attempt=one.attempt + had_pod,
                    pod_name="",
                    started_at=None,
                    inputs=Values(),
                    fingerprint="",
                )
                self.changed.append(fresh)
            else:
                self.forgotten.append(one.id)

    def _moved(self, task: Task, state: TaskState) -> Task:
        # A PENDING without a reason marks where the attempts of a retry policy count anew.
        return replace(
            task,
            state=state,
            error="",
            outputs=Values(),
            finished_at=None,
            retry_at=None,
            history=(*task.history, StateChange(state, self.at)),
        )


def plan_retry(spec: Spec, tasks: Sequence[Task], at: datetime) -> Reset:
    """What becomes of the rows of a failed run; to do it twice is as good as once."""
    below: dict[str, list[Task]] = {}
    for task in tasks:
        below.setdefault(task.parent_id, []).append(task)
    rows = _Rows(at, below)
    pending = deque((root, spec.root) for root in below.get("", ()))
    while pending:
        task, component = pending.popleft()
        rows.reopen(task)
        pending += _reset_inside(task, component, spec, rows)
    return Reset(tuple(rows.changed), tuple(rows.forgotten))


def _reset_inside(
    task: Task, component: Component, spec: Spec, rows: _Rows
) -> list[tuple[Task, Component]]:
    """Reset the children of a DAG or loop that goes on; those of them that go on as well."""
    children = rows.below.get(task.id, ())
    if task.kind is TaskKind.LOOP:
        again = [child for child in children if child.state not in _WELL]
        return [(child, component) for child in again if _goes_on(child, rows)]
    body = component.body
    assert isinstance(body, Dag), "only DAGs and loops have children"
    by_name = {child.name: child for child in children}
    going_on = []
    repeated: set[str] = set()
    for name in _in_order(body):
        child, follows = by_name.get(name), not repeated.isdisjoint(body.tasks[name].depends)
        if child is not None and not follows and child.state in (*_WELL, TaskState.SKIPPED):
            continue
        repeated.add(name)
        if child is None:
            continue
        if follows:
            rows.begin_again(child)
        elif _goes_on(child, rows):
            going_on.append((child, spec.components[body.tasks[name].component]))
    return going_on


def _goes_on(task: Task, rows: _Rows) -> bool:
    """Whether a task that ended badly goes on inside; else it begins again."""
    if task.kind in _BRANCHES and task.started_at is not None:
        return True
    rows.begin_again(task)
    return False


def _in_order(body: Dag) -> list[str]:
    """The tasks, each after those that it waits for."""
    waiting = {name: len(task.depends) for name, task in body.tasks.items()}
    ready = [name for name, count in waiting.items() if not count]
    for name in ready:
        for dependent in body.dependents[name]:
            waiting[dependent] -= 1
            if not waiting[dependent]:
                ready.append(dependent)
    return ready
