"""A world in memory for the pure engine: durable rows, pods that end as told, no clock."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.pipelines import actions, claims, executor_io, retrying
from bessemer.pipelines.plan import Plan
from bessemer.pipelines.records import Artifact, Run, RunState, Task, TaskState, Values
from bessemer.pipelines.spec import Spec

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ROOT = "/artifacts/p/run-1"


class CrashError(Exception):
    """The control plane died here."""


@dataclass
class Pod:
    """A pod that runs until ``World.end`` is told."""

    action: actions.CreatePod
    ended: bool = False
    error: str = ""


#: What a step does: its task and executor input -> output values, or a text why it failed.
Behaviour = Callable[[Task, dict[str, Any]], dict[str, Any] | str]


def do_nothing(_task: Task, _input: dict[str, Any]) -> dict[str, Any]:
    return {}


@dataclass
class World:
    """Rows (what was saved) and pods outlive a crash; the plan does not."""

    spec: Spec
    behaviour: Behaviour = do_nothing
    parameters: dict[str, Any] = field(default_factory=dict)
    crash_at: int = -1  # after that many actions
    now: datetime = START

    def __post_init__(self) -> None:
        self.run = Run(
            id="run-1",
            namespace="ns",
            display_name="my run",
            spec=self.spec.document,
            platform_spec={},
            parameters=self.parameters,
            state=RunState.PENDING,
            created_at=START,
        )
        self.rows: dict[str, Task] = {}
        self.artifacts: dict[str, Artifact] = {}
        self.pods: dict[str, Pod] = {}
        self.claims: dict[str, Object] = {}
        self.deleted: set[str] = set()
        self.created: list[str] = []  # pod names, in the order of their creation
        self.asked: list[str] = []  # fingerprints
        self.cache: dict[str, tuple[Values, list[Artifact]]] = {}
        self.wake_at: datetime | None = None
        self.done = 0
        self.plan = self._build()

    def _build(self) -> Plan:
        return Plan(
            self.run,
            self.spec,
            ROOT,
            list(self.rows.values()),
            list(self.artifacts.values()),
        )

    def start(self) -> World:
        self.plan.start(self.now)
        self.act()
        return self

    def crash(self) -> None:
        """Forget the plan; begin again from what is durable."""
        self.wake_at = None
        self.plan = self._build()
        self.start()

    def retry(self) -> World:
        """The run failed, and was retried: its rows are reset, the engine reads them again."""
        tasks = list(self.rows.values())
        reset = retrying.plan_retry(self.spec, tasks, self.now)
        for id_ in reset.forgotten:
            del self.rows[id_]
        self.rows.update((task.id, task) for task in reset.changed)
        self.run = replace(self.run, state=RunState.RUNNING, finished_at=None, error="")
        self.created.clear()
        return self.go()

    def terminate(self) -> None:
        """The run's row says CANCELING; the engine reads it again."""
        if not self.plan.ended:
            self.run = replace(self.run, state=RunState.CANCELING)
            self.crash()

    def act(self) -> None:
        while wanted := self.plan.actions():
            progress = False
            for action in wanted:
                if isinstance(action, actions.WakeAt):
                    self.wake_at = action.at
                    continue
                progress = True
                self._do(action)
                self.done += 1
                if self.done == self.crash_at:
                    raise CrashError
            if not progress:
                return

    def _do(self, action: actions.Action) -> None:
        match action:
            case actions.Save():
                self._save(action)
            case actions.CreatePod():
                if action.task.pod_name not in self.pods:
                    self.pods[action.task.pod_name] = Pod(action)
                    self.created.append(action.task.pod_name)
            case actions.DeletePod(name):
                self.deleted.add(name)
                if name in self.pods:
                    self.pods[name].ended = True
                self.plan.pod_failed(name, "gone", self.now)
            case actions.LookUpCache(task_id, fingerprint):
                self.asked.append(fingerprint)
                if found := self.cache.get(fingerprint):
                    self.plan.cache_found(task_id, *found, self.now)
                else:
                    self.plan.cache_missed(task_id, self.now)
            case actions.ImportArtifact(task_id, _, artifact):
                self.plan.imported(task_id, artifact, self.now, is_new=True)
            case actions.CreateClaim() | actions.DeleteClaim():
                self._change_claim(action)

    def _change_claim(self, action: actions.CreateClaim | actions.DeleteClaim) -> None:
        if isinstance(action, actions.CreateClaim):
            name = meta.name(action.claim)
            there = self.claims.setdefault(name, action.claim)
            why = "" if claims.is_of(there, action.task_id) else f"{name} already exists"
        else:
            name = action.name
            was_there = self.claims.pop(name, None) is not None
            why = "" if was_there or action.again else f"{name} not found"
        if why:
            self.plan.refused(action.task_id, why, self.now)
        else:
            self.plan.claim_done(action.task_id, name, self.now)

    def _save(self, save: actions.Save) -> None:
        if save.run is not None:
            self.run = save.run
        self.rows.update((task.id, task) for task in save.tasks)
        self.artifacts.update((artifact.id, artifact) for artifact in save.artifacts)

    @property
    def running(self) -> list[str]:
        return [name for name, pod in self.pods.items() if not pod.ended]

    def input_of(self, pod: str) -> dict[str, Any]:
        action = self.pods[pod].action
        return executor_io.make_input(action.task, action.component, action.artifacts)

    def end(self, pod: str) -> None:
        """Let the pod end, as its behaviour says, and tell the plan."""
        self.pods[pod].ended = True
        self.tell(pod)

    def tell(self, pod: str) -> None:
        action = self.pods[pod].action
        result = self.behaviour(action.task, self.input_of(pod))
        if isinstance(result, str):
            self.plan.pod_failed(pod, result, self.now)
        else:
            written = executor_io.Written(json.dumps(result), {})
            try:
                outputs, made = executor_io.read_output(action.task, action.component, written)
            except executor_io.InvalidOutput as error:
                self.plan.pod_failed(pod, str(error), self.now)
            else:
                self.plan.pod_succeeded(pod, outputs, made, self.now)
        self.act()

    def step(self, choose: Callable[[list[str]], str] = lambda pods: pods[0]) -> bool:
        """A pod ends, or time passes to the next wake; False when nothing can happen."""
        if self.plan.ended:
            return False
        # Pods that ended while nobody was there to see.
        for pod in [name for name in self.plan.pods if self.pods[name].ended]:
            self.tell(pod)
            return True
        if running := sorted(set(self.running) & set(self.plan.pods)):
            self.end(choose(running))
            return True
        if self.wake_at is not None:
            self.now, self.wake_at = max(self.now, self.wake_at), None
            self.plan.wake(self.now)
            self.act()
            return True
        return False

    def go(self, choose: Callable[[list[str]], str] = lambda pods: pods[0]) -> World:
        """Start, and go on until nothing can happen; after a crash begin again."""
        restart = True
        while True:
            try:
                if restart:
                    restart = False
                    self.plan = self._build()
                    self.start()
                while self.step(choose):
                    self.now += timedelta(seconds=1)
                return self
            except CrashError:
                restart = True
                self.wake_at = None

    def states(self) -> dict[str, str]:
        """Every row's state by its readable path."""
        return {self.path(task): str(task.state) for task in self.rows.values()}

    def path(self, task: Task) -> str:
        parts = []
        current: Task | None = task
        while current is not None and current.parent_id:
            parts.append(str(current.iteration) if current.iteration >= 0 else current.name)
            current = self.rows.get(current.parent_id)
        return "/".join(reversed(parts)) or "root"

    def row(self, path: str) -> Task:
        return next(task for task in self.rows.values() if self.path(task) == path)


def timeless(task: Task) -> Task:
    """A row without its times, to compare two histories."""
    return replace(
        task,
        created_at=None,
        started_at=None,
        finished_at=None,
        retry_at=None,
        history=(),
    )


__all__ = ["START", "Behaviour", "CrashError", "Pod", "TaskState", "World", "timeless"]
