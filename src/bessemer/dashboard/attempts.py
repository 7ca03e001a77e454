"""A task's attempts: the pods that it had, and why the last one waits. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.pipelines import tree
from bessemer.pipelines.pods import RUN_LABEL, TASK_LABEL, Phase, observe
from bessemer.pipelines.records import Task


def pod_names(tasks: Sequence[Task], task: Task) -> list[str]:
    """The pod of each attempt, the first one first; the last is the task's own."""
    earlier = tree.earlier_pods(task, {one.id: one for one in tasks})
    return [*earlier, task.pod_name] if task.pod_name else earlier


class Waits(NamedTuple):
    """Why what has begun does not run yet.

    Attributes:
        run: why nothing of the run does; "" when something does.
        tasks: by task id.
    """

    run: str
    tasks: Mapping[str, str]


NO_WAITS = Waits("", MappingProxyType({}))


def find_waits(pods: Iterable[Object]) -> dict[str, Waits]:
    """Why runs and their tasks wait, by run, told by their pods that have not ended."""
    by_run: dict[str, dict[str, str]] = {}
    for pod in pods:
        labels = meta.labels(pod)
        tasks = by_run.setdefault(labels.get(RUN_LABEL, ""), {})
        tasks[labels.get(TASK_LABEL, "")] = why_it_waits(pod)
    return {
        run: Waits(
            next(iter(tasks.values())) if all(tasks.values()) else "",
            {task: why for task, why in tasks.items() if why},
        )
        for run, tasks in by_run.items()
    }


def why_it_waits(pod: Object) -> str:
    """What a pod that does not run yet says of it: "installing polars"; "" when it runs."""
    seen = observe(pod)
    if seen.phase in (Phase.WAITING, Phase.STUCK):
        return seen.why
    if meta.dig(pod, "status.phase", "Pending") != "Pending":
        return ""
    for status in meta.dig(pod, "status.containerStatuses") or ():
        if reason := meta.dig(status, "state.waiting.reason"):
            return str(reason)
    return "waits for the node"
