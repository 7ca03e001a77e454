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


_ABSENT = object()


@dataclass(frozen=True)
class Resolved:
    """A task's inputs, and those that only its placeholders and its platform settings see."""

    values: Values
    extra: Mapping[str, Any]


def resolve(task: TaskSpec, component: Component, scope: Scope) -> Resolved:
    """All inputs of a task, with defaults, each of its declared type.

    Raises:
        InputError: one is missing though required, or mistyped.
        Unavailable: one comes from a task that was skipped.
    """
    found = {name: _parameter(item, scope) for name, item in task.parameters.items()}
    lookup = _make_lookup(found, scope)
    found = {
        name: placeholders.fill_value(value, lookup)
        if isinstance(task.parameters[name].source, Constant)
        else value
        for name, value in found.items()
    }
    item_input = task.iterator.item_input if task.iterator else ""
    parameters = {
        name: _finish(name, found.get(name, _ABSENT), definition, task)
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
    return _select(value, item.field) if item.field else value


def get(item: ParameterInput, scope: Scope) -> Any:
    """The value of one source; null where it is not there."""
    value = look_up(item, scope)
    if value is _ABSENT:
        return None
    return placeholders.fill_value(value, _make_lookup({}, scope))


def _select(value: Any, name: str) -> Any:
    """``parseJson(value)["name"]``: one field of an object, or of the JSON text of one."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise InputError(
                f"can't take {name!r} out of {types.shorten(value)}: it is no JSON object"
            ) from None
    if not isinstance(value, dict) or name not in value:
        raise InputError(f"can't take {name!r} out of {types.shorten(value)}: it has no such key")
    return types.normalize(value[name])


def _finish(name: str, value: Any, definition: ParameterDef, task: TaskSpec) -> Any:
    """The value in its declared type; the default where there is none."""
    if value is _ABSENT or value is None:
        if definition.has_default:
            return definition.default
        if definition.optional or definition.type is types.ParameterType.TASK_CONFIG:
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


def loop_items(task: TaskSpec, values: Values, scope: Scope) -> list[Any]:
    """What a loop goes over: parameters, or artifact ids.

    Raises:
        InputError: it is no list.
    """
    iterator = task.iterator
    assert iterator is not None, "only loops have items"
    if iterator.artifact:
        return list(values.artifacts.get(iterator.artifact, ()))
    if iterator.raw is not None:
        items = _parse_items(task, iterator.raw)
        lookup = _make_lookup(values.parameters, scope)
        return [placeholders.fill_value(item, lookup) for item in items]
    return _parse_items(task, values.parameters.get(iterator.parameter))


def _parse_items(task: TaskSpec, value: Any) -> list[Any]:
    parsed = value
    if isinstance(value, str):
        try:
            parsed = json.loads(value)
        except ValueError:
            parsed = None
    if not isinstance(parsed, list):
        raise InputError(
            f"loop {task.name!r} must go over a list (or the JSON text of one), "
            f"but got {types.shorten(value)}"
        )
    items: list[Any] = types.normalize(parsed)
    return items
