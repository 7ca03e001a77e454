"""Where a task's inputs come from: its siblings, its DAG, constants. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bessemer.base.errors import BessemerError
from bessemer.pipelines import placeholders, types
from bessemer.pipelines.records import Values
from bessemer.pipelines.spec.model import (
    Component,
    Constant,
    Dag,
    DagInput,
    FinalStatus,
    ParameterDef,
    ParameterInput,
    TaskOutput,
    TaskSpec,
)


class InputError(BessemerError):
    """A task can't get its inputs; it failed."""


class Unavailable(BessemerError):
    """A task needs an output that was never made (its producer was skipped); it is skipped."""


class Scope(Protocol):
    """What a task of a DAG can see."""

    @property
    def given(self) -> Values:
        """What the DAG itself was given."""
        ...

    def outputs(self, task: str) -> Values | None:
        """What a sibling produced; None unless it ended well."""
        ...

    def final_status(self, task: str) -> dict[str, Any]:
        """How a sibling ended, as PipelineTaskFinalStatus."""
        ...

    def constant(self, path: str) -> Any:
        """The value of ``.pipeline_job_uuid`` and its like, or placeholders.UNKNOWN."""
        ...


#: Of one loop: each is a task with a row and, mostly, a pod.
MOST_ITERATIONS = 10_000
_ABSENT = object()


@dataclass(frozen=True)
class Resolved:
    """A task's inputs, and those that only its placeholders and its platform settings see."""

    values: Values
    extra: Mapping[str, Any]


def resolve(
    task: TaskSpec,
    component: Component,
    scope: Scope,
    allowance: placeholders.Allowance | None = None,
) -> Resolved:
    """All inputs of a task, with defaults, each of its declared type.

    ``allowance`` is what placeholders in them may come to; None: one for this task alone.

    Raises:
        InputError: one is missing though required, or mistyped.
        placeholders.TooLong: they are too much together.
        Unavailable: one comes from a task that was skipped.
    """
    found = {name: _parameter(item, scope) for name, item in task.parameters.items()}
    lookup = placeholders.Metered(_make_lookup(found, scope), allowance)
    found = {
        name: placeholders.fill_value(value, lookup)
        if isinstance(task.parameters[name].source, Constant)
        else value
        for name, value in found.items()
    }
    item_input = task.iterator.item_input if task.iterator else ""
    is_dag = isinstance(component.body, Dag)
    parameters = {
        name: _finish(name, found.get(name, _ABSENT), definition, task, is_dag=is_dag)
        for name, definition in component.parameters.items()
        if name != item_input
    }
    artifacts = {
        name: ids
        for name in component.artifacts
        if name != item_input and (ids := _artifact(name, task, component, scope))
    }
    extra = {
        name: None if value is _ABSENT else value
        for name, value in found.items()
        if name not in component.parameters
    }
    return Resolved(Values(parameters, artifacts), extra)


def _make_lookup(found: Mapping[str, Any], scope: Scope) -> placeholders.Lookup:
    def lookup(path: str) -> Any:
        match placeholders.split(path):
            case ["inputs", "parameters", name]:
                value = found.get(name, _ABSENT)
                if value is _ABSENT:
                    value = scope.given.parameters.get(name, placeholders.UNKNOWN)
                return value
            case _:
                return scope.constant(path)

    return lookup


def _parameter(item: ParameterInput, scope: Scope) -> Any:
    value = look_up(item, scope)
    return types.normalize(value)


def look_up(item: ParameterInput, scope: Scope) -> Any:
    """The value of one source as it is, or a mark that says it is not there."""
    value: Any
    match item.source:
        case Constant(constant):
            value = constant
        case DagInput(name):
            value = scope.given.parameters.get(name)
        case FinalStatus(task):
            value = scope.final_status(task)
        case TaskOutput(task, key):
            outputs = scope.outputs(task)
            if outputs is None or key not in outputs.parameters:
                return _ABSENT
            value = outputs.parameters[key]
    return _select(value, item.field) if item.field and value is not None else value


def get(item: ParameterInput, scope: Scope) -> Any:
    """The value of one source, or null.

    Raises:
        InputError: it comes from a task that did not produce it.
    """
    value = look_up(item, scope)
    if value is _ABSENT:
        raise InputError(f"a setting takes {item.source}, which was not produced")
    return placeholders.fill_value(value, placeholders.Metered(_make_lookup({}, scope)))


def _select(value: Any, name: str) -> Any:
    """``parseJson(value)["name"]``: one field of an object, or of the JSON text of one."""
    parsed = _parse(value) if isinstance(value, str) else value
    if not isinstance(parsed, dict):
        raise InputError(
            f"can't take {name!r} out of {types.shorten(value)}: it is no JSON object"
        )
    if name not in parsed:
        raise InputError(f"can't take {name!r} out of {types.shorten(value)}: it has no such key")
    return types.normalize(parsed[name])


def _parse(text: str) -> Any:
    """The JSON in a text; null if it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return None if types.find_fault(value) else value


def _finish(
    name: str, value: Any, definition: ParameterDef, task: TaskSpec, *, is_dag: bool
) -> Any:
    """The value in its declared type; the default where there is none.

    A DAG passes null on: the compiler declares no input of a group optional, yet what is in it
    may do without.
    """
    if value is _ABSENT or value is None:
        if definition.has_default:
            return definition.default
        may_lack = definition.optional or definition.type is types.ParameterType.TASK_CONFIG
        if may_lack or (is_dag and value is None):
            return None
        raise _missing(name, task, skipped=value is _ABSENT)
    try:
        value = types.convert(name, value, definition.type)
    except types.MistypedValue as error:
        raise InputError(f"task {task.name!r}: {error}") from None
    if definition.literals and value not in definition.literals:
        raise InputError(
            f"task {task.name!r}: parameter {name!r} must be one of "
            f"{list(definition.literals)}, but got {types.shorten(value)}"
        )
    return value


def _missing(name: str, task: TaskSpec, *, skipped: bool) -> InputError | Unavailable:
    text = f"task {task.name!r}: input {name!r} has no value and no default"
    source = task.parameters[name].source if name in task.parameters else task.artifacts.get(name)
    if isinstance(source, TaskOutput):
        text += f": task {source.task!r} did not produce {source.key!r}"
    if skipped and not task.always:
        return Unavailable(text)
    return InputError(text)


def _artifact(name: str, task: TaskSpec, component: Component, scope: Scope) -> Sequence[str]:
    source = task.artifacts.get(name)
    ids: Sequence[str] = ()
    if isinstance(source, TaskOutput):
        outputs = scope.outputs(source.task)
        ids = outputs.artifacts.get(source.key, ()) if outputs is not None else ()
        # A Collected over a loop without iterations is an empty list, not a missing artifact.
        if outputs is not None and component.artifacts[name].is_list:
            return ids
    elif isinstance(source, DagInput):
        ids = scope.given.artifacts.get(source.name, ())
        if component.artifacts[name].is_list:
            return ids
    if not ids and not component.artifacts[name].optional:
        raise _missing(name, task, skipped=isinstance(source, TaskOutput))
    return ids


def loop_items(
    task: TaskSpec,
    given: Resolved,
    scope: Scope,
    allowance: placeholders.Allowance | None = None,
) -> list[Any]:
    """What a loop goes over: parameters, or artifact ids; ``allowance`` as in ``resolve``.

    Raises:
        InputError: it is no list, or too long a one.
        placeholders.TooLong: its items are too much together.
    """
    iterator = task.iterator
    assert iterator is not None, "only loops have items"
    if iterator.artifact:
        return _check_length(task, list(given.values.artifacts.get(iterator.artifact, ())))
    parameters = {**given.extra, **given.values.parameters}
    if iterator.raw is None:
        return _check_length(task, _parse_items(task, parameters.get(iterator.parameter)))
    items = _check_length(task, _parse_items(task, iterator.raw))
    lookup = placeholders.Metered(_make_lookup(parameters, scope), allowance)
    return [placeholders.fill_value(item, lookup) for item in items]


def _check_length(task: TaskSpec, items: list[Any]) -> list[Any]:
    if len(items) > MOST_ITERATIONS:
        raise InputError(
            f"loop {task.name!r} may go over {MOST_ITERATIONS} items, but got {len(items)}; give "
            "each iteration several of them"
        )
    return items


def _parse_items(task: TaskSpec, value: Any) -> list[Any]:
    parsed = _parse(value) if isinstance(value, str) else value
    if not isinstance(parsed, list):
        raise InputError(
            f"loop {task.name!r} must go over a list (or the JSON text of one), "
            f"but got {types.shorten(value)}"
        )
    items: list[Any] = types.normalize(parsed)
    return items
