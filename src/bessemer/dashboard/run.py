"""One run's page: its tasks as a tree, what went in, what came out. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from bessemer.dashboard import charts
from bessemer.dashboard.frame import duration, facts, look, page, pill, when
from bessemer.dashboard.html import Html, join, table, tag
from bessemer.pipelines import wire
from bessemer.pipelines.history import UNFINISHED
from bessemer.pipelines.records import Artifact, Run, Task, TaskKind, TaskState

_REFRESH = 2  # seconds, while the run goes on
_REFRESH_LARGE = 10  # seconds, of a run whose tasks take several pages
_ROWS = 500  # tasks on a page
_CARDS = 100  # artifacts on a page
_SHOWN = 400  # characters of a value
_HIDDEN = ("confidenceMetrics", "confusionMatrix")  # drawn instead
VIEWABLE = ("system.HTML", "system.Markdown")


def draw(
    run: Run,
    tasks: Sequence[Task],
    artifacts: Sequence[Artifact],
    now: datetime,
    *,
    first: int = 0,
) -> Html:
    """The page, with the tasks from the ``first``-th on, as many as a page shows."""
    refresh = _REFRESH if len(tasks) <= _ROWS else _REFRESH_LARGE
    return page(
        run.display_name,
        tag("h1", run.display_name, " ", pill(run.state)),
        tag("div", run.error, class_="error") if run.error else None,
        _draw_facts(run, now),
        _draw_tasks(run, tasks, now, first),
        _draw_parameters(run),
        _draw_artifacts(run, tasks, artifacts),
        refresh=refresh if run.state in UNFINISHED else 0,
    )


def _draw_facts(run: Run, now: datetime) -> Html:
    items = {
        "Pipeline": str((run.spec.get("pipelineInfo") or {}).get("name", "")),
        "Run id": tag("span", run.id, class_="mono"),
        "Namespace": run.namespace,
        "Started": join((when(run.created_at), " UTC")),
        "Took": duration(run.created_at, run.finished_at or now),
        "Description": run.description,
    }
    return tag("section", facts(items))


def _draw_parameters(run: Run) -> Html | None:
    if not run.parameters:
        return None
    rows = [(name, tag("code", shorten(value))) for name, value in run.parameters.items()]
    return tag("section", tag("h2", "Parameters"), table(("Name", "Value"), rows))


def shorten(value: object) -> str:
    """A value as JSON, cut where it gets long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


# -- tasks ---------------------------------------------------------------------------------------


def walk(tasks: Sequence[Task]) -> Iterable[tuple[int, Task]]:
    """The tasks with their depth, each below its parent, in the order they started."""
    children: dict[str, list[Task]] = {}
    ids = {task.id for task in tasks}
    for task in tasks:
        parent = task.parent_id if task.parent_id in ids else ""
        children.setdefault(parent, []).append(task)
    stack = [(0, task) for task in _ordered(children.get("", ()))]
    while stack:
        depth, task = stack.pop()
        yield depth, task
        stack.extend((depth + 1, child) for child in _ordered(children.get(task.id, ())))


def _ordered(tasks: Iterable[Task]) -> list[Task]:
    """Last first, as a stack wants it."""

    def key(task: Task) -> tuple[bool, float, int, str]:
        start = task.started_at or task.created_at  # cached and skipped ones never started
        return start is None, start.timestamp() if start else 0.0, task.iteration, task.name

    return sorted(tasks, key=key, reverse=True)


def _draw_tasks(run: Run, tasks: Sequence[Task], now: datetime, first: int) -> Html:
    end = run.finished_at or now
    span = max((end - run.created_at).total_seconds(), 0.001)
    # Without the root, which is the run itself.
    found = [(depth, task) for depth, task in walk(tasks) if depth or task.name != "root"]
    rows = [
        _draw_task(run, task, max(depth - 1, 0), span, end)
        for depth, task in found[first : first + _ROWS]
    ]
    if not rows:
        return tag("section", tag("h2", "Tasks"), tag("p", "None yet.", class_="soft"))
    content = table(("Task", "State", "Took", "", ""), rows)
    return tag("section", tag("h2", "Tasks"), content, _draw_turns(first, len(rows), len(found)))


def _draw_turns(first: int, shown: int, total: int) -> Html | None:
    """Which tasks are shown, and the way to the others; None when all are."""
    if shown == total:
        return None
    before = tag("a", "Earlier ones", href=f"?first={max(first - _ROWS, 0)}") if first else None
    after = (
        tag("a", "Later ones", href=f"?first={first + shown}") if first + shown < total else None
    )
    text = f"Tasks {first + 1} to {first + shown} of {total}. "
    return tag("p", text, before, " ", after, class_="more")


def _draw_task(
    run: Run, task: Task, depth: int, span: float, end: datetime
) -> tuple[Html | str, ...]:
    name = join(
        (
            tag("span", "   " * depth + "└ " if depth else "", class_="twig"),
            wire.task_name(task),
            tag("span", f"  attempt {task.attempt + 1}", class_="soft") if task.attempt else None,
            _draw_reason(task),
        )
    )
    log: Html | str = ""
    if task.kind is TaskKind.CONTAINER and task.pod_name:
        log = tag("a", "log", href=f"/runs/{_path(run.id)}/tasks/{_path(task.id)}/log")
    finish = task.finished_at or end
    took = tag("span", duration(task.started_at, finish), class_="tight")
    return name, pill(task.state), took, _draw_bar(run, task, span, finish), log


def _draw_reason(task: Task) -> Html | None:
    """Why a task failed or was skipped; of a group its first line: its tasks tell the rest."""
    if not task.error:
        return None
    is_group = task.kind in (TaskKind.DAG, TaskKind.LOOP)
    first, *more = task.error.splitlines()
    text = (f"{first} …" if more else first) if is_group else task.error
    return tag("div", text, class_="soft" if task.state is TaskState.SKIPPED else "error")


def _draw_bar(run: Run, task: Task, span: float, finish: datetime) -> Html:
    if task.started_at is None:
        return tag("div", class_="bar")
    left = min(max((task.started_at - run.created_at).total_seconds() / span, 0), 1)
    width = min(max((finish - task.started_at).total_seconds() / span, 0), 1 - left)
    style = f"left:{left:.2%};width:{width:.2%}"
    return tag("div", tag("i", class_=look(task.state), style=style), class_="bar")


def _path(part: str) -> str:
    return quote(part, safe="")


# -- artifacts -----------------------------------------------------------------------------------


def _draw_artifacts(run: Run, tasks: Sequence[Task], artifacts: Sequence[Artifact]) -> Html | None:
    if not artifacts:
        return None
    by_id = {task.id: task for task in tasks}
    makers = {
        id_: _name_maker(task, by_id.get(task.parent_id))
        for task in tasks
        for ids in task.outputs.artifacts.values()
        for id_ in ids
        if task.kind in (TaskKind.CONTAINER, TaskKind.IMPORTER)
    }
    # What people look at first comes first.
    weight = {"system.HTML": 0, "system.Markdown": 0, "system.ClassificationMetrics": 1,
              "system.Metrics": 2, "system.Model": 3}  # fmt: skip
    ordered = sorted(artifacts, key=lambda one: (weight.get(one.type, 9), one.name, one.id))
    shown = ordered[:_CARDS]
    cards = [_draw_artifact(run, artifact, makers.get(artifact.id, "")) for artifact in shown]
    rest = None
    if more := len(ordered) - len(shown):
        path = f"/apis/v2beta1/artifacts?run_id={_path(run.id)}"
        rest = tag("p", f"{more} more by the API: ", tag("code", path), class_="more soft")
    return tag("section", tag("h2", "Artifacts"), tag("div", *cards, class_="cards"), rest)


def _name_maker(task: Task, parent: Task | None) -> str:
    """The task, and of which iteration of a loop, where it is of one."""
    name = wire.task_name(task)
    return f"{wire.task_name(parent)} / {name}" if parent and parent.iteration >= 0 else name


def _draw_artifact(run: Run, artifact: Artifact, maker: str) -> Html:
    viewable = artifact.type in VIEWABLE
    view = f"/runs/{_path(run.id)}/artifacts/{_path(artifact.id)}"
    parts: list[Html | None] = [
        tag("h3", artifact.name, " ", tag("span", artifact.type, class_="soft")),
        tag("div", "from ", maker, class_="soft") if maker else None,
        facts({key: shorten(value) for key, value in _plain(artifact.metadata).items()}),
        *charts.draw_metrics(artifact.metadata),
        tag("div", artifact.uri, class_="mono soft"),
    ]
    if viewable:
        parts.append(tag("p", tag("a", "open alone", href=view)))
        parts.append(tag("iframe", src=view, sandbox="allow-scripts", title=artifact.name))
    return tag("div", *parts, class_="card wide" if viewable else "card")


def _plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if key not in _HIDDEN}


# -- logs ----------------------------------------------------------------------------------------


def draw_log(run: Run, task: Task, text: str, *, is_cut: bool = False) -> Html:
    """The end of a task's log (``is_cut``: 1 MiB of it); asked for again while the task runs."""
    name = wire.task_name(task)
    back = tag("a", run.display_name, href=f"/runs/{_path(run.id)}")
    running = task.finished_at is None and run.state in UNFINISHED
    return page(
        f"Log of {name}",
        tag("h1", name, " ", pill(task.state)),
        tag("p", "of ", back, "; the last 1 MiB of it" if is_cut else None),
        tag("section", tag("pre", text) if text else tag("p", "Nothing yet.", class_="soft")),
        refresh=_REFRESH if running else 0,
    )
