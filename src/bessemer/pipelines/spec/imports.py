"""Which URIs a run's importers will be given, as far as its pipeline and arguments tell. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from bessemer.pipelines import placeholders
from bessemer.pipelines.spec.model import (
    Component,
    Constant,
    Dag,
    DagInput,
    Importer,
    Spec,
    TaskSpec,
)


class _Input(NamedTuple):
    """An input parameter of a task."""

    caller: Component  # in whose body the task is
    task: TaskSpec
    name: str


def find_uris(spec: Spec, arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each importer's task with a URI that is known before the run begins.

    ``arguments`` are the root's, with defaults. What a step makes, and what placeholders fill, is
    known only when the importer's turn comes.
    """
    around: dict[str, list[tuple[Component, TaskSpec]]] = {}
    for component in (spec.root, *spec.components.values()):
        for task in component.body.tasks.values() if isinstance(component.body, Dag) else ():
            around.setdefault(task.component, []).append((component, task))
    seen: set[tuple[str, str, str]] = set()  # inputs, each followed up once for all importers
    for component in spec.components.values():
        body = component.body
        if not isinstance(body, Importer):
            continue
        for caller, task in around.get(component.name, ()):
            if not body.uri_parameter:
                yield from _texts(task, body.uri)
            else:
                for value in _values(
                    _Input(caller, task, body.uri_parameter), around, arguments, seen
                ):
                    yield from _texts(task, value)


def _texts(task: TaskSpec, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str) and not placeholders.has_any(value):
        yield task.name, value


def _values(
    given: _Input,
    around: Mapping[str, list[tuple[Component, TaskSpec]]],
    arguments: Mapping[str, Any],
    seen: set[tuple[str, str, str]],
) -> Iterator[Any]:
    """What a task's input may be, followed up to constants, loops' literal items, arguments."""
    pending = [given]
    while pending:
        caller, task, name = pending.pop()
        if (caller.name, task.name, name) in seen:
            continue
        seen.add((caller.name, task.name, name))
        iterator, item = task.iterator, task.parameters.get(name)
        if iterator is not None and iterator.item_input == name:
            if iterator.raw is not None:
                yield from _items(iterator.raw)
            elif iterator.parameter in task.parameters:
                pending.append(_Input(caller, task, iterator.parameter))
        elif item is None or item.field:
            continue
        elif isinstance(item.source, Constant):
            value = item.source.value
            yield from value if isinstance(value, list) else [value]
        elif isinstance(item.source, DagInput):
            source = item.source.name
            if caller.name == "root":
                value = arguments.get(source)
                yield from value if isinstance(value, list) else [value]
            pending += [_Input(above, one, source) for above, one in around.get(caller.name, ())]


def _items(raw: str) -> list[Any]:
    try:
        items = json.loads(raw)
    except (ValueError, RecursionError):
        return []  # the loop will say what is wrong with it
    return items if isinstance(items, list) else []
