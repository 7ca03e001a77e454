"""How many tasks a pipeline comes to: a component can be in a DAG many times, and so on below.

So thirty small components can stand for a thousand million tasks.
"""

from __future__ import annotations

from collections.abc import Mapping

from bessemer.pipelines.spec.model import Component, InvalidSpec

#: Tasks of one run, those of each iteration of its loops among them.
MOST_TASKS = 10_000
_MOST_DEPTH = 100  # of DAGs in each other; each is a folder of the tasks in it


def count(root: Component, inner: Mapping[str, list[Component]]) -> Mapping[str, int]:
    """The tasks in each DAG and below, by its component's name; a loop's iteration as one.

    ``inner`` has the components of each DAG's tasks, one for each task.

    Raises:
        InvalidSpec: a component contains itself, or the root comes to too much.
    """
    waiting = {name: {part.name for part in parts} & set(inner) for name, parts in inner.items()}
    holders: dict[str, list[str]] = {name: [] for name in inner}
    for name, parts in waiting.items():
        for part in parts:
            holders[part].append(name)
    left = {name: len(parts) for name, parts in waiting.items()}
    ready = [name for name, number in left.items() if number == 0]
    tasks: dict[str, int] = {}
    depth: dict[str, int] = {}
    while ready:
        name = ready.pop()
        del left[name]
        # No number grows beyond what is refused: else it could have as many digits as levels.
        total = sum(1 + tasks.get(part.name, 0) for part in inner[name])
        tasks[name] = min(total, MOST_TASKS + 1)
        depth[name] = 1 + max((depth[part] for part in waiting[name]), default=0)
        for holder in holders[name]:
            left[holder] -= 1
            if left[holder] == 0:
                ready.append(holder)
    if left:
        raise InvalidSpec(
            f"the components {sorted(left)} contain each other in a cycle; a pipeline can't "
            "contain itself"
        )
    if tasks.get(root.name, 0) > MOST_TASKS:
        raise InvalidSpec(
            f"a run may have {MOST_TASKS} tasks, but this pipeline's DAGs come to more; give each "
            "task more to do"
        )
    if depth.get(root.name, 0) > _MOST_DEPTH:
        raise InvalidSpec(
            f"DAGs may be in each other {_MOST_DEPTH} levels deep, but got {depth[root.name]}"
        )
    return tasks
