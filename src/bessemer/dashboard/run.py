"""One run's page: its tasks as a tree, what went in, what came out. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote

from bessemer.dashboard import charts
from bessemer.dashboard.attempts import NO_WAITS, Waits
from bessemer.dashboard.frame import Page, duration, facts, look, page, pill, when
from bessemer.dashboard.html import Html, join, table, tag
from bessemer.dashboard.reports import VIEWABLE, has_file
from bessemer.pipelines import v2beta1
from bessemer.pipelines.records import UNFINISHED, Artifact, Run, Task, TaskKind, TaskState
from bessemer.pipelines.tree import FINAL

_REFRESH = 2  # seconds, while the run goes on
_REFRESH_LARGE = 10  # seconds, of a run whose tasks take several pages
_ROWS = 500  # tasks on a page
_CARDS = 100  # artifacts on a page
_SHOWN = 400  # characters of a value
_HIDDEN = ("confidenceMetrics", "confusionMatrix")  # drawn instead


def draw(
    run: Run,
    tasks: Sequence[Task],
    artifacts: Sequence[Artifact],
    now: datetime,
    *,
    first: int = 0,
    waits: Waits = NO_WAITS,
) -> Page:
    """The page, with the tasks from the ``first``-th on, as many as a page shows.

    ``waits`` tells why what has begun does not run yet.
    """
    refresh = _REFRESH if len(tasks) <= _ROWS else _REFRESH_LARGE
    return page(
        run.display_name,
        tag("h1", run.display_name, " ", pill("WAITING" if waits.run else run.state)),
        tag("div", waits.run, class_="waits") if waits.run else None,
        _draw_run_error(run, tasks),
        _draw_facts(run, now),
        _draw_tasks(run, tasks, Moment(now, waits), first),
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


class Moment(NamedTuple):
    """What is not in the history: when it is looked at, and what pods say just now."""

    now: datetime
    waits: Waits


class RunTime(NamedTuple):
    """The run's whole time, of which each task's bar shows a part."""

    seconds: float  # above 0
    end: datetime  # the run's, or now


def _draw_tasks(run: Run, tasks: Sequence[Task], moment: Moment, first: int) -> Html:
    end = run.finished_at or moment.now
    whole = RunTime(max((end - run.created_at).total_seconds(), 0.001), end)
    # Without the root, which is the run itself.
    found = [(depth, task) for depth, task in walk(tasks) if depth or task.name != "root"]
    rows = [
        _draw_task(run, task, max(depth - 1, 0), whole, moment.waits.tasks.get(task.id, ""))
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
    run: Run, task: Task, depth: int, whole: RunTime, waits: str
) -> tuple[Html | str, ...]:
    name = join(
        (
            tag("span", "   " * depth + "└ " if depth else "", class_="twig"),
            v2beta1.task_name(task),
            tag("span", f"  attempt {task.attempt + 1}", class_="soft") if task.attempt else None,
            tag("div", waits, class_="waits") if waits else _draw_reason(task),
        )
    )
    log: Html | str = ""
    if task.kind is TaskKind.CONTAINER and task.pod_name:
        log = tag(
            "a", "log", href=f"/runs/{_path(run.id)}/tasks/{_path(task.id)}/log", class_="tight"
        )
    finish = task.finished_at or whole.end
    took = tag("span", duration(task.started_at, finish), class_="tight")
    return (
        name,
        pill("WAITING" if waits else task.state),
        took,
        _draw_bar(run, task, whole.seconds, finish),
        log,
    )


def _draw_reason(task: Task) -> Html | None:
    """Why a task failed or was skipped; of a group its first line: its tasks tell the rest."""
    if not task.error:
        return None
    if task.state not in FINAL:  # what the engine was told while it waits
        return tag("div", task.error, class_="waits")
    is_group = task.kind in (TaskKind.DAG, TaskKind.LOOP)
    first, *more = task.error.splitlines()
    if is_group or task.state is TaskState.SKIPPED:
        kind = "soft" if task.state is TaskState.SKIPPED else "error"
        return tag("div", f"{first} …" if more else first, class_=kind)
    return _draw_error(task.error)


def _draw_run_error(run: Run, tasks: Sequence[Task]) -> Html | None:
    """Why a run failed; its first line where the task that failed tells the rest below."""
    first, _, rest = run.error.partition("\n")
    if not first:
        return None
    is_told = rest and any(rest in task.error for task in tasks)
    return _draw_error(f"{first} …" if is_told else run.error)


def _draw_error(text: str) -> Html:
    """What went wrong, and as it was written what the log said of it."""
    first, _, rest = text.partition("\n")
    log = tag("pre", rest, class_="error") if rest else None
    return tag("div", tag("div", first, class_="error"), log)


def _draw_bar(run: Run, task: Task, span: float, finish: datetime) -> Html:
    if task.started_at is None:
        return tag("svg", class_="bar", aria_hidden="true")
    left = min(max((task.started_at - run.created_at).total_seconds() / span, 0), 1)
    width = min(max((finish - task.started_at).total_seconds() / span, 0), 1 - left)
    lasted = tag("rect", x=f"{left:.2%}", width=f"{width:.2%}", height="100%",
                 class_=look(task.state))  # fmt: skip
    return tag("svg", lasted, class_="bar", aria_hidden="true")


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
    name = v2beta1.task_name(task)
    return f"{v2beta1.task_name(parent)} / {name}" if parent and parent.iteration >= 0 else name


def _draw_artifact(run: Run, artifact: Artifact, maker: str) -> Html:
    viewable = artifact.type in VIEWABLE
    here = f"/runs/{_path(run.id)}/artifacts/{_path(artifact.id)}"
    links: list[Html | str] = []
    if viewable:
        links.append(tag("a", "open alone", href=here))
    if has_file(artifact):
        links += [" · "] if links else []
        links.append(tag("a", "download", href=f"{here}/file", download=""))
    parts: list[Html | None] = [
        tag("h3", artifact.name, " ", tag("span", artifact.type, class_="soft")),
        tag("div", "from ", maker, class_="soft") if maker else None,
        facts({key: shorten(value) for key, value in _plain(artifact.metadata).items()}),
        *charts.draw_metrics(artifact.metadata),
        tag("div", artifact.uri, class_="mono soft"),
        tag("p", *links) if links else None,
    ]
    if viewable:
        # The frame allows no more than the report's own policy does.
        allowed = (
            "allow-scripts"
            if artifact.type == "system.HTML"
            else "allow-popups allow-popups-to-escape-sandbox"
        )
        parts.append(tag("iframe", src=here, sandbox=allowed, title=artifact.name, loading="lazy"))
    return tag("div", *parts, class_="card wide" if viewable else "card")


def _plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if key not in _HIDDEN}


# -- logs ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Log:
    """One attempt's log, as far as there is one.

    Attributes:
        text: its end.
        is_cut: whether it begins before the text does.
        missing: why there is no text; "" when there is.
        attempt: whose, counted from 1, of how many.
    """

    text: str
    attempt: tuple[int, int]
    is_cut: bool = False
    missing: str = ""


def draw_log(run: Run, task: Task, log: Log) -> Page:
    """The end of a task's log; asked for again while the task runs."""
    name = v2beta1.task_name(task)
    number, count = log.attempt
    is_last = number == count
    running = is_last and task.finished_at is None and run.state in UNFINISHED
    state = "WAITING" if running and log.missing else task.state
    here = f"/runs/{_path(run.id)}"
    file = f"/runs/{_path(run.id)}/tasks/{_path(task.id)}/log?attempt={number}&download=1"
    content = tag("pre", log.text) if log.text else tag("p", log.missing, class_="soft")
    return page(
        f"Log of {name}",
        tag("h1", name, " ", pill(state) if is_last else None),
        tag(
            "p",
            "of ",
            tag("a", run.display_name, href=here),
            "; the end of it, " if log.is_cut else "; " if log.text else None,
            tag("a", "whole log as a file", href=file, download="") if log.text else None,
        ),
        _draw_attempts(number, count),
        tag("section", content),
        refresh=_REFRESH if running else 0,
    )


def _draw_attempts(number: int, count: int) -> Html | None:
    """The way to the logs of the other attempts; None when there is one."""
    if count < 2:
        return None
    links = [
        tag("b", f"attempt {each}")
        if each == number
        else tag("a", f"attempt {each}", href=f"?attempt={each}")
        for each in range(1, count + 1)
    ]
    return tag("ul", *(tag("li", link) for link in links), class_="tabs", aria_label="Attempts")
