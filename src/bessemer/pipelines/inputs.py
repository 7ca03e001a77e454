"""Where a task's inputs come from: its siblings, its DAG, constants. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bessemer.base.errors import BessemerError
from bessemer.pipelines import placeholders, types
from bessemer.pipelines.records import Values
from bessemer.pipelines.spec import items
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

    def items(self) -> Iterable[tuple[str, Any]]:
        """The items of the loops around it, by their names, nearest first."""
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

    A loop's item that leaked out of its loop is left out of a DAG's inputs: what reads it in there
    finds it at the loop (``Scope.items``). ``allowance`` is what placeholders in them may come to;
    None: one for this task alone.

    Raises:
        InputError: one is missing though required, or mistyped.
        placeholders.TooLong: they are too much together.
        Unavailable: one comes from a task that was skipped.
    """
    found = {name: _parameter(item, scope) for name, item in task.parameters.items()}
    lookup = placeholders.Metered(_make_lookup(task, found, scope), allowance)
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
        and not (is_dag and _leaked(name, found.get(name, _ABSENT), definition))
    }
    artifacts = {
        name: ids
        for name, definition in component.artifacts.items()
        if name != item_input
        and (ids := _artifact(name, task, component, scope)) is not None
        and (ids or definition.is_list)
    }
    return Resolved(Values(parameters, artifacts), _extra(task, found, component, is_dag=is_dag))


def _leaked(name: str, value: Any, definition: ParameterDef) -> bool:
    return value is _ABSENT and not definition.optional and items.may_leak(name)


def _extra(
    task: TaskSpec, found: Mapping[str, Any], component: Component, *, is_dag: bool
) -> dict[str, Any]:
    """The inputs that only placeholders see; a container is never given one without a value."""
    extra = {name: value for name, value in found.items() if name not in component.parameters}
    missing = [name for name, value in extra.items() if value is _ABSENT]
    if missing and not is_dag:
        raise _missing(missing[0], task, absent=True)
    return {name: value for name, value in extra.items() if value is not _ABSENT}


def _make_lookup(
    task: TaskSpec | None, found: Mapping[str, Any], scope: Scope
) -> placeholders.Lookup:
    def lookup(path: str) -> Any:
        match placeholders.split(path):
            case ["inputs", "parameters", name]:
                value = found[name] if name in found else _given(name, scope)
                if value is not _ABSENT:
                    return value
                if task is not None and name in task.parameters:
                    raise _missing(name, task, absent=True)
                return placeholders.UNKNOWN
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
            value = _given(name, scope)
            if value is _ABSENT:
                return _ABSENT
        case FinalStatus(task):
            value = scope.final_status(task)
        case TaskOutput(task, key):
            outputs = scope.outputs(task)
            if outputs is None or key not in outputs.parameters:
                return _ABSENT
            value = outputs.parameters[key]
    return _select(value, item.field) if item.field else value


def _given(name: str, scope: Scope) -> Any:
    """An input of the DAG; else the item (or a field of it) of a loop around, by its name.

    The SDK's compiler names a loop's item where it does not pass it on, and asks for it outside of
    its loop (kubeflow/pipelines#13273): the name tells which loop is meant.
    """
    given = scope.given.parameters
    if name in given:
        return given[name]
    for item, value in scope.items():
        if name == item:
            return value
        if (field := items.field_of(item, name)) is not None:
            return types.normalize(_select(value, field))
    return _ABSENT


def get(item: ParameterInput, scope: Scope) -> Any:
    """The value of one source, or null where an optional input has none.

    Raises:
        InputError: nothing gives it a value.
    """
    value = look_up(item, scope)
    if value is _ABSENT:
        raise InputError(f"a Kubernetes setting takes {item.source}, which has no value")
    return placeholders.fill_value(value, placeholders.Metered(_make_lookup(None, {}, scope)))


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
    may do without. A default never stands in for what a skipped task would have made.
    """
    if value is _ABSENT and not task.always and _is_output(name, task):
        raise _missing(name, task, absent=True)
    if value is _ABSENT or value is None:
        if definition.has_default:
            return definition.default
        may_lack = definition.optional or definition.type is types.ParameterType.TASK_CONFIG
        if may_lack or (is_dag and value is None):
            return None
        raise _missing(name, task, absent=value is _ABSENT)
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


def _is_output(name: str, task: TaskSpec) -> bool:
    return name in task.parameters and isinstance(task.parameters[name].source, TaskOutput)


def _missing(name: str, task: TaskSpec, *, absent: bool) -> InputError | Unavailable:
    text = f"task {task.name!r}: input {name!r} has no value and no default"
    source = task.parameters[name].source if name in task.parameters else task.artifacts.get(name)
    if isinstance(source, TaskOutput):
        text += f": task {source.task!r} did not produce {source.key!r}"
        if absent and not task.always:
            return Unavailable(text)
    elif absent and isinstance(source, DagInput):
        text += f": nothing gives {source.name!r}"
    return InputError(text)


def _artifact(
    name: str, task: TaskSpec, component: Component, scope: Scope
) -> Sequence[str] | None:
    """The ids of an input; None where an optional one is not given."""
    source, definition = task.artifacts.get(name), component.artifacts[name]
    ids: Sequence[str] | None = None
    if isinstance(source, TaskOutput):
        outputs = scope.outputs(source.task)
        ids = outputs.artifacts.get(source.key) if outputs is not None else None
        if ids is None and not task.always:
            raise _missing(name, task, absent=True)
    elif isinstance(source, DagInput):
        ids = scope.given.artifacts.get(source.name)
    # A Collected over a loop without iterations is an empty list, not a missing artifact.
    if not ids and not definition.optional and (ids is None or not definition.is_list):
        raise _missing(name, task, absent=isinstance(source, TaskOutput))
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
        if iterator.artifact not in given.values.artifacts:
            raise InputError(
                f"loop {task.name!r} must go over a list, but input {iterator.artifact!r} has none"
            )
        return _check_length(task, list(given.values.artifacts[iterator.artifact]))
    parameters = {**given.extra, **given.values.parameters}
    if iterator.raw is None:
        return _check_length(task, _parse_items(task, parameters.get(iterator.parameter)))
    raw = _check_length(task, _parse_items(task, iterator.raw))
    lookup = placeholders.Metered(_make_lookup(task, parameters, scope), allowance)
    return [placeholders.fill_value(item, lookup) for item in raw]


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
    normal: list[Any] = types.normalize(parsed)
    return normal
