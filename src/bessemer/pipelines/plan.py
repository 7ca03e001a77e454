"""The engine's decisions: what happened to a run's tasks in, actions out. Pure.

A Plan is one run in memory, built from its rows; it is told what happened (``start``,
``pod_succeeded``, ``cache_found``, ``wake`` ...) and asked for ``actions``. It can be dropped
after any action and built again from the rows and the pods: ids and names depend on run and path
alone. Each event costs what it changes, not the size of the run. What begins when something
ended is in ``walk``, nodes and scopes in ``tree``, changed rows in ``ledger``, where inputs come
from in ``inputs``.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from bessemer.base.clock import later
from bessemer.pipelines import caching, claims, importer, inputs, platform, tree
from bessemer.pipelines.actions import (
    Action,
    CreatePod,
    DeletePod,
    ImportArtifact,
    LookUpCache,
    WakeAt,
)
from bessemer.pipelines.ledger import ENDED_RUNS, Ledger
from bessemer.pipelines.records import (
    Artifact,
    Run,
    RunState,
    StateChange,
    Task,
    TaskState,
    Values,
)
from bessemer.pipelines.spec import items
from bessemer.pipelines.spec.model import Claim, Importer, Retry, Spec, TaskSpec
from bessemer.pipelines.tree import FINAL, Node
from bessemer.pipelines.walk import Walk


class Plan:
    """One unfinished run. Not thread-safe; every method but ``actions`` takes the time."""

    def __init__(
        self,
        run: Run,
        spec: Spec,
        run_root: str,
        tasks: Sequence[Task] = (),
        artifacts: Sequence[Artifact] = (),
    ) -> None:
        self._spec = spec
        self._run_root = run_root
        self.is_canceling = run.state is RunState.CANCELING
        self._rows = {task.id: task for task in tasks}
        self._ledger = Ledger(run, artifacts)
        self._walk = Walk(self._ledger, spec, run_root, self._rows, self)
        self._running: dict[str, Node] = {}  # by pod name
        self._asked: dict[str, Node] = {}  # by task id: cache look-ups and imports
        self._retries: list[tuple[datetime, str, Node]] = []
        self._actions: list[Action] = []
        root = TaskSpec(name="root", display_name=spec.display_name, component="root")
        self._root = Node(path="", spec=root, component=spec.root, parent=None)

    # What the reconciler asks.

    @property
    def run(self) -> Run:
        """The run as it is now."""
        return self._ledger.run

    @property
    def ended(self) -> bool:
        """Whether the run is over."""
        return self.run.state in ENDED_RUNS

    @property
    def name(self) -> str:
        """The pipeline's name."""
        return self._spec.name

    @property
    def has_actions(self) -> bool:
        """Whether something is to be done now."""
        return bool(self._actions) or self._ledger.has_changes

    @property
    def pods(self) -> list[str]:
        """Names of the pods whose end it waits for."""
        return list(self._running)

    def waits_for(self, pod: str) -> Node | None:
        """The node whose current attempt that pod is."""
        return self._running.get(pod)

    def actions(self) -> list[Action]:
        """What is to be done, in this order; each is told once."""
        actions, self._actions = self._actions, []
        if (save := self._ledger.take()) is not None:
            actions.insert(0, save)
        if self._retries and not self.ended:
            actions.append(WakeAt(self._retries[0][0]))
        return actions

    def close(self) -> None:
        """Let go of the tree: parents and children refer to each other, as do plan and walk.

        Its values may be megabytes, which would wait for the collector to find the circle.
        """
        pending = [self._root]
        while pending:
            node = pending.pop()
            pending.extend(node.children.values())
            node.children.clear()
        self._walk.close()

    # What happened.

    def start(self, now: datetime) -> None:
        """Begin, or go on where the rows end; of a run that is CANCELING end the pods."""
        if self.ended:
            return
        self._ledger.now = now
        if self.run.state is RunState.PENDING:
            self._ledger.set_run(RunState.RUNNING)
        root = self._root
        root.task = self._rows.get(tree.task_id(self.run.id, root.path))
        root.given = Values(self._arguments())
        if root.task is None and not self.is_canceling:
            self._ledger.put(root, TaskState.RUNNING)
        if root.task is not None:
            self._walk.later(self._walk.resume, root)
        self._work()
        if self.is_canceling:
            self._cancel()

    def wake(self, now: datetime) -> None:
        """Time passed: start the retries that are due."""
        self._ledger.now = now
        while self._retries and self._is_due(*self._retries[0]):
            _, _, node = heapq.heappop(self._retries)
            if node.state is TaskState.PENDING:
                self._walk.later(self._retry, node)
        self._work()

    def pod_succeeded(
        self, pod: str, outputs: Values, artifacts: Sequence[Artifact], now: datetime
    ) -> None:
        """A task's pod ended well and its outputs are these."""
        self._ledger.now = now
        node = self._running.pop(pod, None)
        if node is None:
            return
        self._ledger.add(artifacts, are_new=True)
        self._walk.end(node, TaskState.SUCCEEDED, outputs=outputs)
        self._work()

    def pod_failed(self, pod: str, error: str, now: datetime) -> None:
        """A task's pod ended badly, is gone, or can't be had."""
        self._ledger.now = now
        node = self._running.pop(pod, None)
        if node is None:
            return
        if self.is_canceling:
            self._walk.end(node, TaskState.CANCELED, error="the run was terminated")
        elif (at := self._retry_at(node)) is not None:
            self._ledger.put(node, TaskState.PENDING, error=error, retry_at=at)
            self._wait_for_retry(node)
        else:
            self._walk.end(node, TaskState.FAILED, error=error)
        self._work()

    def pod_waits(self, pod: str, why: str, now: datetime) -> None:
        """A task's pod can't start yet; its row says why until it does."""
        self._ledger.now = now
        node = self._running.get(pod)
        if node is not None and node.task is not None and node.task.error != why:
            self._ledger.store(node, replace(node.task, error=why))
            self._explain()

    def _explain(self) -> None:
        """Say with the run what one of its steps waits for, until none waits."""
        waiting = (node.task for node in self._running.values() if node.task and node.task.error)
        first = next(waiting, None)
        self._ledger.explain(f"task {first.name!r} waits: {first.error}" if first else "")

    def pod_noted(self, pod: str, note: str, now: datetime) -> None:
        """A task's pod runs, though not all as it asked; its row's history says so, once."""
        self._ledger.now = now
        node = self._running.get(pod)
        if node is None or node.task is None:
            return
        history = node.task.history
        notes = itertools.takewhile(lambda change: change.error, reversed(history))
        if note not in [change.error for change in notes]:
            noted = StateChange(TaskState.RUNNING, now, note)
            self._ledger.store(node, replace(node.task, history=(*history, noted)))

    def cache_missed(self, task_id: str, now: datetime) -> None:
        """No earlier task equals that one."""
        self._ledger.now = now
        if (node := self._asked.pop(task_id, None)) is not None:
            self._launch(node)
        self._work()

    def cache_found(
        self, task_id: str, outputs: Values, artifacts: Sequence[Artifact], now: datetime
    ) -> None:
        """An earlier task equals that one: its outputs are taken."""
        self._ledger.now = now
        if (node := self._asked.pop(task_id, None)) is not None:
            self._ledger.add(artifacts, are_new=False)
            self._walk.end(node, TaskState.CACHED, outputs=outputs)
        self._work()

    def imported(self, task_id: str, artifact: Artifact, now: datetime, *, is_new: bool) -> None:
        """An importer's artifact is this one."""
        self._ledger.now = now
        if (node := self._asked.pop(task_id, None)) is not None:
            self._ledger.add([artifact], are_new=is_new)
            name = next(iter(node.component.output_artifacts), "artifact")
            self._walk.end(node, TaskState.SUCCEEDED, outputs=Values({}, {name: [artifact.id]}))
        self._work()

    def claim_done(self, task_id: str, name: str, now: datetime) -> None:
        """A task's claim of that name is there, or gone."""
        self._ledger.now = now
        if (node := self._asked.pop(task_id, None)) is not None:
            outputs = dict.fromkeys(node.component.output_parameters, name)
            self._walk.end(node, TaskState.SUCCEEDED, outputs=Values(outputs))
        self._work()

    def refused(self, task_id: str, error: str, now: datetime) -> None:
        """What an importer or a claim's task asked for can't be had."""
        self._ledger.now = now
        if (node := self._asked.pop(task_id, None)) is not None:
            self._walk.end(node, TaskState.FAILED, error=error)
        self._work()

    def _arguments(self) -> dict[str, Any]:
        """The root's inputs; null is as good as not given, as for ``spec.check_arguments``."""
        given = {name: one for name, one in self.run.parameters.items() if one is not None}
        declared = self._spec.root.parameters
        return {
            name: given.get(name, definition.default)
            for name, definition in declared.items()
            if name in given or definition.has_default or not items.may_leak(name)
        }

    def _work(self) -> None:
        self._walk.work()
        if self.run.error and not self.ended:
            self._explain()
        if self.is_canceling and not self._running and not self.ended:
            self._finish_cancel()

    # What the walk leaves to the plan.

    def start_leaf(self, node: Node) -> None:
        """Begin a container or importer, all whose inputs are there."""
        body = node.component.body
        if isinstance(body, Importer):
            self._import(node, body)
        elif isinstance(body, Claim):
            self._ask_claim(node, body)
        elif node.spec.cache:
            self._ask_cache(node)
        else:
            self._launch(node)

    def resume_leaf(self, node: Node) -> None:
        """Wait for the pod that the row names (it may never have been created), or to retry."""
        task = node.task
        assert task is not None, "only nodes with a row are resumed"
        node.given = task.inputs
        node.extra = dict(self._walk.resolve(node).extra)
        if isinstance(node.component.body, Claim):
            if not self.is_canceling:
                self._ask_claim(node, node.component.body, again=True)
            return
        if task.state is TaskState.PENDING:
            self._wait_for_retry(node)
            return
        if self.is_canceling:
            self._running[task.pod_name] = node
        else:
            self._create(node, self._settings(node))

    def end_run(self, root: Task) -> None:
        """The root ended, and so does the run."""
        if root.state is TaskState.SUCCEEDED:
            self._ledger.set_run(RunState.SUCCEEDED)
        else:
            self._ledger.set_run(RunState.FAILED, root.error)

    # Containers and importers.

    def _ask_cache(self, node: Node) -> None:
        settings = self._settings(node)
        fingerprint = caching.fingerprint(
            node.spec, node.component, node.given, node.extra, settings
        )
        # Not stored before the answer: a crash in between only asks again.
        row = node.task or self._ledger.new_row(node)
        node.task = replace(row, inputs=node.given, fingerprint=fingerprint)
        self._asked[node.task.id] = node
        self._actions.append(LookUpCache(node.task.id, fingerprint))

    def _launch(self, node: Node, *, again: bool = False) -> None:
        settings = self._settings(node)  # may raise, so before anything is stored
        attempt = (node.task.attempt if node.task else 0) + (1 if again else 0)
        name = tree.pod_name(self.run.id, node.path, node.spec.name, attempt)
        self._ledger.put(
            node,
            TaskState.RUNNING,
            attempt=attempt,
            pod_name=name,
            inputs=node.given,
            task_root=tree.task_root(self._run_root, node.path, attempt),
            retry_at=None,
        )
        self._create(node, settings)

    def _create(self, node: Node, settings: Mapping[str, Any]) -> None:
        task = node.task
        assert task is not None, "a pod is created for a row"
        self._running[task.pod_name] = node
        wanted = [one for some in node.given.artifacts.values() for one in some]
        self._actions.append(
            CreatePod(
                task=task,
                component=node.component,
                artifacts={one: self._ledger.artifacts[one] for one in wanted},
                settings=settings,
                scope=self._walk.scope(node),
                extra=node.extra,
            )
        )

    def _settings(self, node: Node) -> Mapping[str, Any]:
        settings = self._spec.kubernetes.get(node.component.executor)
        if not settings:
            return {}
        scope = self._walk.scope(node)
        return platform.resolve(settings, lambda item: inputs.get(item, scope))

    def _retry_at(self, node: Node) -> datetime | None:
        """When the next attempt may start; None if there is none left."""
        policy, task = node.retry, node.task
        tried = tree.attempts(task) - 1 if task is not None else 0
        if policy is None or task is None or tried >= policy.limit:
            return None
        now = self._ledger.now
        left = policy.window - (now - (task.started_at or now)).total_seconds()
        delay = _delay(policy, tried)
        return None if delay > left else later(now, delay)

    def _is_due(self, at: datetime, _id: str, node: Node) -> bool:
        """Whether a retry's time has come, or is further off than any wait that led to it.

        Then the wall clock was set back since.
        """
        now, policy, task = self._ledger.now, node.retry, node.task
        if at <= now or policy is None or task is None:
            return True
        return (at - now).total_seconds() > _delay(policy, task.attempt) + 1

    def _wait_for_retry(self, node: Node) -> None:
        task = node.task
        assert task is not None, "a retry has a row"
        node.given = task.inputs
        if task.retry_at is None or self._is_due(task.retry_at, task.id, node):
            self._walk.later(self._retry, node)
        else:
            heapq.heappush(self._retries, (task.retry_at, task.id, node))

    def _retry(self, node: Node) -> None:
        task = node.task
        if task is not None and not self.is_canceling:
            self._launch(node, again=True)

    def _import(self, node: Node, body: Importer) -> None:
        node.task = self._ledger.new_row(node)
        artifact = importer.make_artifact(body, node, self._walk.scope(node))
        self._asked[node.task.id] = node
        self._actions.append(ImportArtifact(node.task.id, node.spec.name, artifact, body.reimport))

    def _ask_claim(self, node: Node, deed: Claim, *, again: bool = False) -> None:
        row = replace(node.task or self._ledger.new_row(node), inputs=node.given)
        action = claims.make_action(deed, row, self.run, again=again)
        if not again:
            # Stored before it is done: who deletes must know that it began to.
            self._ledger.put(node, TaskState.RUNNING, inputs=node.given)
        self._asked[row.id] = node
        self._actions.append(action)

    # Termination.

    def _cancel(self) -> None:
        self._actions = [DeletePod(name) for name in self._running]
        self._asked.clear()
        self._retries.clear()
        self._work()

    def _finish_cancel(self) -> None:
        """The last pod is gone: end every row that has not ended, then the run."""
        pending = [self._root]
        while pending:
            node = pending.pop()
            if node.task is not None and node.task.state not in FINAL:
                why = "the run was terminated"
                self._ledger.put(node, TaskState.CANCELED, error=why, finished_at=self._ledger.now)
            pending.extend(node.children.values())
        self._ledger.set_run(RunState.FAILED, "the run was terminated")


def _delay(policy: Retry, tried: int) -> float:
    """Seconds before the attempt that follows so many repeated ones."""
    delay = policy.backoff
    for _ in range(tried):  # a power would overflow
        delay = min(delay * policy.factor, policy.window + 1)
    return delay
