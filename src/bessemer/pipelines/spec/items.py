"""The items of loops: which names they have, and where they can be seen. Pure.

The SDK's compiler names a field of an item ``<item>-subvar-<field>``. For a loop in or around
another, and for If with Else in a loop, it asks for the item where nobody has it: outside of its
loop, or in an inner group that is not given it (kubeflow/pipelines#13273). The name tells what is
meant: the item of the nearest loop around that is called so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from bessemer.pipelines.spec.model import (
    Component,
    Dag,
    DagInput,
    InvalidSpec,
    TaskOutput,
    TaskSpec,
)

_FIELD = "-subvar-"
_MOST_STEPS = 100_000  # from groups to the ones around them, in search of all items of a pipeline


def may_leak(name: str) -> bool:
    """Whether an input is called like a loop's item, or a field of one."""
    return "loop-item" in name


def field_of(item: str, name: str) -> str | None:
    """Which field of that item the name means; None if it means none."""
    return name.removeprefix(item + _FIELD) if name.startswith(item + _FIELD) else None


def _means(item: str, name: str) -> bool:
    return name == item or field_of(item, name) is not None


@dataclass(slots=True)
class Visibility:
    """Where a loop's item can be seen, for the components that the root reaches."""

    components: Mapping[str, Component]
    callers: dict[str, list[tuple[Component, TaskSpec]]] = field(default_factory=dict)
    # What a component declares, but is not given by some task.
    missing: set[tuple[str, str]] = field(default_factory=set)
    _steps: int = 0

    def note(self, caller: Component, task: TaskSpec) -> None:
        """Know that a task of a DAG is of that component."""
        self.callers.setdefault(task.component, []).append((caller, task))

    def is_there(self, component: Component, name: str) -> bool:
        """Whether the tasks of a DAG can take that name as an input of theirs."""
        if name in component.parameters and (component.name, name) not in self.missing:
            return True
        return may_leak(name) and self._is_item(component.name, name)

    def _is_item(self, component: str, name: str) -> bool:
        """Whether every way to the component goes through a loop whose item the name means."""
        pending, seen = [component], {component}
        while pending:
            around = self.callers.get(pending.pop(), [])
            if not around:
                return False  # the root
            for caller, task in around:
                self._steps += 1
                if self._steps > _MOST_STEPS:
                    raise InvalidSpec(
                        f"the loops around {component!r} are too many to find {name!r} in them; "
                        "pass the item as an argument"
                    )
                is_it = task.iterator is not None and _means(task.iterator.item_input, name)
                if not is_it and caller.name not in seen:
                    seen.add(caller.name)
                    pending.append(caller.name)
        return True

    def lacks(self, caller: Component, task: TaskSpec) -> Iterator[str]:
        """The inputs of a task that nothing gives a value."""
        siblings = caller.body.tasks if isinstance(caller.body, Dag) else {}
        for key, item in task.parameters.items():
            source = item.source
            if isinstance(source, DagInput):
                if not self.is_there(caller, source.name):
                    yield key
            elif isinstance(source, TaskOutput) and source.task in siblings:
                made = self.components.get(siblings[source.task].component)
                if made is not None and source.key not in made.output_parameters:
                    yield key
