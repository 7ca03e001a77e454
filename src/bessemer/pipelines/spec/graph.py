"""What must hold among tasks: they exist, fit together, and go round in no circle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bessemer.pipelines.spec import items, size
from bessemer.pipelines.spec.model import (
    Component,
    Dag,
    DagInput,
    FinalStatus,
    InvalidSpec,
    Source,
    TaskOutput,
    TaskSpec,
)
from bessemer.pipelines.types import ParameterType


def order(component: str, tasks: Mapping[str, TaskSpec]) -> Mapping[str, tuple[str, ...]]:
    """Who waits for whom: task -> its dependents, in the order of the spec.

    Raises:
        InvalidSpec: a task waits for one that is not there, or, over others, for itself.
    """
    dependents: dict[str, list[str]] = {name: [] for name in tasks}
    waiting = {}
    for name, task in tasks.items():
        for needed in task.depends:
            if needed not in dependents:
                raise InvalidSpec(
                    f"task {name!r} in component {component!r} depends on task {needed!r}, "
                    "which is not in the same dag"
                )
            dependents[needed].append(name)
        waiting[name] = len(task.depends)
    ready = [name for name, count in waiting.items() if count == 0]
    while ready:
        done = ready.pop()
        del waiting[done]
        for name in dependents[done]:
            waiting[name] -= 1
            if waiting[name] == 0:
                ready.append(name)
    if waiting:
        raise InvalidSpec(
            f"the tasks {sorted(waiting)} in component {component!r} wait for each other in a "
            "cycle; remove one of their dependencies"
        )
    return {name: tuple(names) for name, names in dependents.items()}


def check(
    root: Component,
    components: Mapping[str, Component],
    settings: Mapping[str, Sequence[Source]],
) -> Mapping[str, int]:
    """Check every DAG that the root reaches; how many tasks each comes to, by component.

    ``settings`` tells where the Kubernetes settings of an executor (by its label) take values
    from.

    Raises:
        InvalidSpec: a component is unknown, contains itself, its tasks don't fit together, or
            they are too many.
    """
    inner: dict[str, list[Component]] = {}
    pending = [root]
    while pending:
        component = pending.pop()
        if component.name not in inner and isinstance(component.body, Dag):
            inner[component.name] = _check_dag(component, component.body, components)
            pending.extend(inner[component.name])
    counted = size.count(root, inner)
    known = {root.name: root, **components}
    visible = items.Visibility(known)
    outermost_first = [known[name] for name in reversed([*counted])]  # counted from the inside
    for component in outermost_first:
        for task in _tasks(component):
            visible.note(component, task)
    for component in outermost_first:
        for task in _tasks(component):
            _check_lacks(component, task, visible)
            _check_settings(component, task, visible, settings)
    return counted


def _tasks(component: Component) -> Iterable[TaskSpec]:
    return component.body.tasks.values() if isinstance(component.body, Dag) else ()


def _check_lacks(component: Component, task: TaskSpec, visible: items.Visibility) -> None:
    """What nothing gives a value may only be a loop's item that leaked into a group."""
    called = visible.components[task.component]
    reads = task.condition.inputs if task.condition is not None else frozenset()
    for key in visible.lacks(component, task):
        if isinstance(called.body, Dag) and items.may_leak(key) and key not in reads:
            visible.missing.add((called.name, key))
            continue
        source = task.parameters[key].source
        where = f"task {task.name!r}"
        if isinstance(source, TaskOutput):
            _check_output(
                component, _dag_of(component), source, "parameter", visible.components, where
            )
        assert isinstance(source, DagInput), "other sources always have a value"
        raise InvalidSpec(_no_input(where, key, source.name, component))


def _dag_of(component: Component) -> Dag:
    assert isinstance(component.body, Dag), "only DAGs have tasks"
    return component.body


def _check_dag(
    component: Component, dag: Dag, components: Mapping[str, Component]
) -> list[Component]:
    inner = []
    for task in dag.tasks.values():
        if task.component not in components:
            raise InvalidSpec(
                f"task {task.name!r} in component {component.name!r} names component "
                f"{task.component!r}, which the pipeline lacks; it has {sorted(components)}"
            )
        inner.append(components[task.component])
        _check_inputs(component, dag, task, components)
    for kind, outputs in (("parameter", dag.parameters), ("artifact", dag.artifacts)):
        for key, selectors in outputs.items():
            for selector in selectors:
                _check_output(component, dag, selector, kind, components, f"output {key!r}")
    return inner


def _check_settings(
    component: Component,
    task: TaskSpec,
    visible: items.Visibility,
    settings: Mapping[str, Sequence[Source]],
) -> None:
    where = f"a Kubernetes setting of task {task.name!r}"
    for source in settings.get(visible.components[task.component].executor, ()):
        if isinstance(source, TaskOutput):
            _check_output(
                component, _dag_of(component), source, "parameter", visible.components, where
            )
        elif isinstance(source, DagInput) and not visible.is_there(component, source.name):
            raise InvalidSpec(_no_input(where, "its value", source.name, component))


def _check_inputs(
    component: Component, dag: Dag, task: TaskSpec, components: Mapping[str, Component]
) -> None:
    where = f"task {task.name!r}"
    for key, item in task.parameters.items():
        if isinstance(item.source, TaskOutput):
            if not items.may_leak(key):
                _check_output(component, dag, item.source, "parameter", components, where)
            elif item.source.task not in dag.tasks:
                raise InvalidSpec(_no_task(where, component, item.source))
        elif isinstance(item.source, FinalStatus) and not task.always:
            raise InvalidSpec(
                f"{where} reads the final status of {item.source.task!r}, so its strategy must be "
                "ALL_UPSTREAM_TASKS_COMPLETED"
            )
    for key, source in task.artifacts.items():
        if isinstance(source, TaskOutput):
            _check_output(component, dag, source, "artifact", components, where)
        elif source.name not in component.artifacts:
            raise InvalidSpec(_no_input(where, key, source.name, component))
    _check_given(task, components[task.component])


def _no_task(where: str, component: Component, source: TaskOutput) -> str:
    return (
        f"{where} in component {component.name!r} takes {source.key!r} from task "
        f"{source.task!r}, which is not in the same dag"
    )


def _no_input(where: str, key: str, name: str, component: Component) -> str:
    return (
        f"{where} takes {key!r} from input {name!r} of component {component.name!r}, "
        "which declares no such input"
    )


def _check_given(task: TaskSpec, component: Component) -> None:
    given = set(task.parameters) | set(task.artifacts)
    if task.iterator is not None:
        given.add(task.iterator.item_input)
    if task.condition is not None and (unknown := sorted(task.condition.inputs - given)):
        raise InvalidSpec(
            f"the condition of task {task.name!r} reads {unknown}, which are none of its inputs "
            f"{sorted(given)}"
        )
    # The pod's own settings are no input that anybody gives.
    needed = {
        name
        for name, definition in component.parameters.items()
        if not definition.optional
        and definition.type is not ParameterType.TASK_CONFIG
        and not (isinstance(component.body, Dag) and items.may_leak(name))
    }
    needed |= {name for name, artifact in component.artifacts.items() if not artifact.optional}
    if missing := sorted(needed - given):
        raise InvalidSpec(
            f"task {task.name!r} gives component {component.name!r} no value for {missing}, "
            "which have no default"
        )


def _check_output(
    component: Component,
    dag: Dag,
    source: TaskOutput,
    kind: str,
    components: Mapping[str, Component],
    where: str,
) -> None:
    producer = dag.tasks.get(source.task)
    made = components.get(producer.component) if producer else None
    if made is None:
        raise InvalidSpec(_no_task(where, component, source))
    outputs = made.output_parameters if kind == "parameter" else made.output_artifacts
    if source.key not in outputs:
        raise InvalidSpec(
            f"{where} in component {component.name!r} takes the {kind} {source.key!r} of task "
            f"{source.task!r}, which declares only {sorted(outputs)}"
        )
