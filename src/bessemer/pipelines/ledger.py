"""What a plan changed and did not store yet: the run, rows of tasks, artifacts. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from bessemer.pipelines import tree
from bessemer.pipelines.actions import Save
from bessemer.pipelines.records import (
    Artifact,
    Run,
    RunState,
    StateChange,
    Task,
    TaskKind,
    TaskState,
    Values,
)
from bessemer.pipelines.spec.model import Claim, Dag, Importer
from bessemer.pipelines.tree import Node

ENDED_RUNS = (RunState.SUCCEEDED, RunState.FAILED)


class Ledger:
    """The run's rows as they are now, and which of them the next Save must store."""

    def __init__(self, run: Run, artifacts: Sequence[Artifact]) -> None:
        self.run = run
        self.now: datetime = run.created_at
        self.artifacts = {artifact.id: artifact for artifact in artifacts}
        self._run_changed = False
        self._changed: dict[str, Task] = {}
        self._new_artifacts: list[Artifact] = []

    @property
    def has_changes(self) -> bool:
        """Whether something is to be stored."""
        return self._run_changed or bool(self._changed)

    def take(self) -> Save | None:
        """What is to be stored since the last call; None if nothing."""
        if not self.has_changes:
            return None
        run = self.run if self._run_changed else None
        save = Save(run, tuple(self._changed.values()), tuple(self._new_artifacts))
        self._changed, self._new_artifacts, self._run_changed = {}, [], False
        return save

    def add(self, artifacts: Sequence[Artifact], *, are_new: bool) -> None:
        """Know these artifacts; new ones are to be stored."""
        self.artifacts.update((artifact.id, artifact) for artifact in artifacts)
        if are_new:
            self._new_artifacts += artifacts

    def set_run(self, state: RunState, error: str = "") -> None:
        """Set the run's state."""
        change = StateChange(state.value, self.now, error)
        self.run = replace(
            self.run,
            state=state,
            error=error,
            finished_at=self.now if state in ENDED_RUNS else None,
            history=(*self.run.history, change),
        )
        self._run_changed = True

    def explain(self, why: str) -> None:
        """Say what an unfinished run waits for; empty if for nothing but its steps."""
        if self.run.error != why and self.run.state not in ENDED_RUNS:
            self.run = replace(self.run, error=why)
            self._run_changed = True

    def store(self, node: Node, task: Task) -> None:
        """Replace a node's row."""
        node.task = task
        self._changed[task.id] = task

    def put(self, node: Node, state: TaskState, **changes: Any) -> None:
        """Set a node's state, making its row if it has none; its error goes unless given."""
        task = node.task or self.new_row(node)
        if state not in tree.TRANSITIONS[node.state]:
            raise AssertionError(f"a task never goes from {node.state} to {state}: {node.path}")
        changes.setdefault("error", "")
        if state is TaskState.RUNNING:
            changes.setdefault("started_at", task.started_at or self.now)
        change = StateChange(state.value, self.now, changes["error"])
        self.store(node, replace(task, state=state, history=(*task.history, change), **changes))

    def new_row(self, node: Node) -> Task:
        """The first row of a node."""
        body = node.component.body
        kind = TaskKind.CONTAINER
        if node.is_loop:
            kind = TaskKind.LOOP
        elif isinstance(body, Dag):
            kind = TaskKind.DAG
        elif isinstance(body, Importer):
            kind = TaskKind.IMPORTER
        elif isinstance(body, Claim):
            kind = TaskKind.CLAIM
        display = node.spec.display_name
        return Task(
            id=tree.task_id(self.run.id, node.path),
            run_id=self.run.id,
            parent_id=tree.task_id(self.run.id, node.parent.path) if node.parent else "",
            name=node.spec.name,
            iteration=node.iteration,
            kind=kind,
            state=TaskState.PENDING,
            display_name=display,
            created_at=self.now,
            inputs=_row_inputs(node),
        )


def _row_inputs(node: Node) -> Values:
    """An iteration's row keeps its item alone: the rest is the loop's, however many they are."""
    if node.iteration < 0 or node.parent is None or not isinstance(node.component.body, Dag):
        return node.given
    above = node.parent.given
    return Values(
        {k: v for k, v in node.given.parameters.items() if k not in above.parameters},
        {k: v for k, v in node.given.artifacts.items() if k not in above.artifacts},
    )
