"""Walking a run's tree: what begins when something ended, and how DAGs and loops end. Pure.

Each step is queued, so that no chain of tasks is too long for the stack, and each costs what it
changes. What containers and importers do is the plan's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from bessemer.pipelines import claims, conditions, importer, inputs, placeholders, platform, tree
from bessemer.pipelines.ledger import Ledger
from bessemer.pipelines.records import Task, TaskKind, TaskState, Values
from bessemer.pipelines.spec.model import Dag, Spec
from bessemer.pipelines.spec.size import MOST_TASKS
from bessemer.pipelines.tree import FINAL, Node
from bessemer.pipelines.types import MistypedValue, convert


class Leaves(Protocol):
    """What the walk leaves to the plan."""

    is_canceling: bool  # nothing new begins

    def start_leaf(self, node: Node) -> None:
        """Begin a container or importer."""
        ...

    def resume_leaf(self, node: Node) -> None:
        """Go on with a container that had begun before."""
        ...

    def end_run(self, root: Task) -> None:
        """The root ended."""
        ...


# Iterations of a loop that are under way at once where it says nothing.
_MOST_OPEN = 256


class Walk:
    """The tree of one run, and the steps that are due in it."""

    def __init__(
        self, ledger: Ledger, spec: Spec, run_root: str, rows: Mapping[str, Task], leaves: Leaves
    ) -> None:
        self._ledger = ledger
        self._spec = spec
        self._run_root = run_root
        self._rows = rows
        self._leaves = leaves
        # Known at their begin; after a restart at least those that have rows.
        self._tasks = max(len(rows), spec.tasks.get(spec.root.name, 0))
        self._allowance = placeholders.Allowance(placeholders.RUN_LIMIT)
        self._queue: deque[tuple[Callable[[Node], None], Node]] = deque()

    def close(self) -> None:
        """Take no further step; see ``Plan.close``."""
        self._queue.clear()
        del self._leaves

    def later(self, step: Callable[[Node], None], node: Node) -> None:
        """Have a step done in its turn."""
        self._queue.append((step, node))

    def work(self) -> None:
        """Do the steps that are due, and those that follow from them."""
        while self._queue:
            step, node = self._queue.popleft()
            step(node)

    def resume(self, node: Node) -> None:
        """Go on with a node that has a row."""
        task = node.task
        assert task is not None, "only nodes with a row are resumed"
        if task.state in FINAL:
            self._ended(node)
        elif task.kind is TaskKind.LOOP:
            self._open_loop(node)
        elif task.kind is TaskKind.DAG:
            self._open_dag(node)
        else:
            self._guard(self._leaves.resume_leaf, node)

    def _begin(self, node: Node) -> None:
        """All that a node waits for has ended."""
        if not self._leaves.is_canceling:
            self._guard(self._start, node)

    def _guard(self, step: Callable[[Node], None], node: Node) -> None:
        """Do a step; where a node's inputs or settings are wrong, the node ends."""
        try:
            step(node)
        except inputs.Unavailable as error:
            self.end(node, TaskState.SKIPPED, error=str(error))
        except (
            inputs.InputError,
            placeholders.MissingValue,
            conditions.InvalidCondition,
            platform.InvalidSetting,
            importer.InvalidImport,
            claims.InvalidClaim,
            placeholders.TooLong,
        ) as error:
            self.end(node, TaskState.FAILED, error=str(error))

    def _start(self, node: Node) -> None:
        if node.iteration < 0:
            if why := self._why_skip(node):
                self.end(node, TaskState.SKIPPED, error=why)
                return
            resolved = self.resolve(node)
            node.given, node.extra = resolved.values, dict(resolved.extra)
            if not self._holds(node):
                self.end(node, TaskState.SKIPPED, error="its condition is false")
                return
        if node.is_loop:
            items = self._loop_items(node)
            self._count_tasks(node, len(items))
            self._ledger.put(node, TaskState.RUNNING)
            self._open_loop(node, items)
        elif isinstance(node.component.body, Dag):
            self._ledger.put(node, TaskState.RUNNING)
            self._open_dag(node)
        else:
            self._leaves.start_leaf(node)

    def _count_tasks(self, loop: Node, iterations: int) -> None:
        """Count what a loop adds to the run. Raises InputError."""
        self._tasks += iterations * (1 + self._spec.tasks.get(loop.component.name, 0))
        if self._tasks > MOST_TASKS:
            raise inputs.InputError(
                f"a run may have {MOST_TASKS} tasks, but with the {iterations} iterations of loop "
                f"{loop.spec.name!r} it has {self._tasks}; give each iteration more to do"
            )

    def _why_skip(self, node: Node) -> str:
        """Why a node must not run, by how the ones before it ended; empty if it may."""
        if node.spec.always or node.parent is None:
            return ""
        for name in sorted(node.spec.depends):
            state = node.parent.children[name].state
            if state not in tree.DONE_WELL:
                return f"task {name!r}, which it depends on, is {state}"
        return ""

    def _holds(self, node: Node) -> bool:
        condition = node.spec.condition
        return condition is None or condition.evaluate({**node.extra, **node.given.parameters})

    def scope(self, node: Node) -> tree.DagScope:
        """What a node can see."""
        parent = node.parent or node
        if node.iteration >= 0 and parent.parent is not None:
            parent = parent.parent  # an iteration sees what its loop sees
        facts = tree.RunFacts(self._ledger.run, self._spec.name, self._run_root)
        return tree.DagScope(facts, parent, node.spec.name)

    def resolve(self, node: Node) -> inputs.Resolved:
        """A node's inputs."""
        return inputs.resolve(node.spec, node.component, self.scope(node), self._allowance)

    def _loop_items(self, node: Node) -> list[Any]:
        given = inputs.Resolved(node.given, node.extra)
        return inputs.loop_items(node.spec, given, self.scope(node), self._allowance)

    def _open_dag(self, node: Node) -> None:
        body = node.component.body
        assert isinstance(body, Dag), "only DAGs have tasks"
        self._restore_given(node)
        for name, spec in body.tasks.items():
            path = f"{node.path}/{name}" if node.path else name
            component = self._spec.components[spec.component]
            child = Node(path=path, spec=spec, component=component, parent=node)
            child.task = self._rows.get(tree.task_id(self._ledger.run.id, path))
            child.waiting, child.retry = len(spec.depends), spec.retry or node.retry
            node.children[name] = child
        node.open = len(node.children)
        for child in node.children.values():
            if not child.is_fresh:
                self.later(self.resume, child)
            elif child.waiting == 0:
                self.later(self._begin, child)
        if node.open == 0:
            self._settle(node)

    def _restore_given(self, node: Node) -> None:
        """A DAG's inputs from its row, where it was not begun just now."""
        if node.parent is None or node.given != Values() or node.task is None:
            return
        own = node.task.inputs
        if node.iteration >= 0:
            own = _join(node.parent.given, own)
        node.given = own

    def _open_loop(self, node: Node, items: list[Any] | None = None) -> None:
        self._restore_given(node)
        if items is None:
            node.extra = dict(self.resolve(node).extra)
            items = self._loop_items(node)
        node.items = items
        node.open = 0
        self._fill_loop(node)

    def _fill_loop(self, node: Node) -> None:
        """Begin iterations while the loop's parallelism allows; settle it when all have ended."""
        items = node.items or []
        # More than a node takes at once need not be begun at once: each has rows, and pods.
        limit = node.spec.parallelism or _MOST_OPEN
        if self._leaves.is_canceling:
            limit = len(items)  # to end every row, however few may act at a time
        while node.started < len(items) and node.open < limit:
            index = node.started
            node.started += 1
            node.open += 1
            path = f"{node.path}/{index}"
            child = Node(
                path=path,
                spec=node.spec,
                component=node.component,
                parent=node,
                iteration=index,
                retry=node.retry,
            )
            child.task = self._rows.get(tree.task_id(self._ledger.run.id, path))
            node.children[str(index)] = child
            if not child.is_fresh:
                self.later(self.resume, child)
            elif not self._leaves.is_canceling:
                self._begin_iteration(child, items[index])
        if node.open == 0 and node.started == len(items):
            self._settle(node)

    def _begin_iteration(self, node: Node, item: Any) -> None:
        iterator, loop = node.spec.iterator, node.parent
        assert iterator is not None, "only loops have iterations"
        assert loop is not None, "an iteration is in a loop"
        try:
            own = Values({}, {iterator.item_input: [item]})
            if not iterator.artifact:
                definition = node.component.parameters.get(iterator.item_input)
                if definition is not None:
                    item = convert(iterator.item_input, item, definition.type)
                own = Values({iterator.item_input: item})
        except MistypedValue as error:
            self.end(node, TaskState.FAILED, error=f"loop {node.spec.name!r}: {error}")
            return
        node.given = _join(loop.given, own)
        node.extra = loop.extra
        self.later(self._begin, node)

    def end(
        self, node: Node, state: TaskState, *, error: str = "", outputs: Values | None = None
    ) -> None:
        self._ledger.put(
            node,
            state,
            error=error,
            outputs=outputs or Values(),
            finished_at=self._ledger.now,
            retry_at=None,
        )
        self.later(self._ended, node)

    def _ended(self, node: Node) -> None:
        """Tell the node's parent and those that waited for it."""
        parent, task = node.parent, node.task
        assert task is not None, "an ended node has a row"
        if self._leaves.is_canceling:
            return
        if parent is None:
            self._leaves.end_run(task)
            return
        parent.open -= 1
        if parent.is_loop:
            self._fill_loop(parent)
            return
        body = parent.component.body
        assert isinstance(body, Dag), "the parent of a task is a loop or a DAG"
        for name in body.dependents[node.spec.name]:
            dependent = parent.children[name]
            dependent.waiting -= 1
            if dependent.waiting == 0 and dependent.is_fresh:
                self.later(self._begin, dependent)
        if parent.open == 0:
            self._settle(parent)

    def _settle(self, node: Node) -> None:
        """All children of a DAG or loop have ended: so does it."""
        outputs = tree.loop_outputs(node) if node.is_loop else tree.dag_outputs(node)
        if failure := _first_failure(node):
            self.end(node, TaskState.FAILED, error=failure, outputs=outputs)
        else:
            self.end(node, TaskState.SUCCEEDED, outputs=outputs)


def _join(above: Values, own: Values) -> Values:
    return Values({**above.parameters, **own.parameters}, {**above.artifacts, **own.artifacts})


def _first_failure(node: Node) -> str:
    """The failure of the first child in the spec's order, whichever failed first in time."""
    for child in node.children.values():
        task = child.task
        if task is not None and task.state is TaskState.FAILED:
            place = f" (iteration {task.iteration})" if task.iteration >= 0 else ""
            return f"task {task.name!r}{place} failed: {task.error}"
    return ""
