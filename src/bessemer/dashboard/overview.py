"""The first page: runs and served models. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import quote

from bessemer.dashboard.attempts import NO_WAITS, Waits
from bessemer.dashboard.frame import Page, duration, page, pill, when
from bessemer.dashboard.html import Html, join, table, tag
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.pipelines.records import UNFINISHED, Run
from bessemer.pipelines.run_catalog import RunPage

_REFRESH = 3  # seconds, while a run goes on or a model is not ready


def draw(
    runs: RunPage | None,
    services: Sequence[Object] | None,
    now: datetime,
    waits: Mapping[str, Waits],
) -> Page:
    """The page; None stands for what the user may not see."""
    busy = runs is not None and any(run.state in UNFINISHED for run in runs.runs)
    busy = busy or not all(map(_is_ready, services or ()))
    return page(
        "Runs and models",
        None if runs is None else _draw_runs(runs, now, waits),
        None if services is None else _draw_services(services),
        refresh=_REFRESH if busy else 0,
    )


def _draw_runs(runs: RunPage, now: datetime, waits: Mapping[str, Waits]) -> Html:
    if not runs.runs:
        return tag(
            "section",
            tag("h2", "Runs"),
            tag(
                "p",
                "No run yet. In a shell after ",
                tag("code", 'eval "$(bessemer env)"'),
                ", any script with ",
                tag("code", "kfp.Client()"),
                " starts one here.",
                class_="soft",
            ),
        )
    rows = [
        (
            _draw_name(run, waits.get(run.id, NO_WAITS).run),
            pill("WAITING" if waits.get(run.id, NO_WAITS).run else run.state),
            when(run.created_at),
            tag("span", duration(run.created_at, run.finished_at or now), class_="tight"),
            tag("span", str((run.spec.get("pipelineInfo") or {}).get("name", "")), class_="soft"),
        )
        for run in runs.runs
    ]
    more = None
    if runs.next_token:
        link = tag("a", "Older runs", href=f"/?page_token={quote(runs.next_token, safe='')}")
        more = tag("p", link, class_="more")
    return tag(
        "section",
        tag("h2", f"Runs ({runs.total})"),
        table(("Run", "State", "Started (UTC)", "Took", "Pipeline"), rows),
        more,
    )


def _draw_name(run: Run, waits: str) -> Html:
    link = tag("a", run.display_name, href=f"/runs/{quote(run.id, safe='')}")
    return join((link, tag("div", waits, class_="waits") if waits else None))


def _draw_services(services: Sequence[Object]) -> Html:
    rows = [
        (
            meta.name(service),
            meta.namespace(service),
            pill("Ready" if _is_ready(service) else "Not ready"),
            str(meta.dig(service, "status.url", "")),
            _split(service),
            tag("span", why, class_="soft") if (why := _why(service)) else "",
        )
        for service in services
    ]
    content = (
        table(("Model", "Namespace", "State", "Address", "Traffic", "Why"), rows)
        if rows
        else tag("p", "No model is served.", class_="soft")
    )
    return tag("section", tag("h2", "Served models"), content)


def _is_ready(service: Object) -> bool:
    return (meta.condition(service, "Ready") or {}).get("status") == "True"


def _split(service: Object) -> str:
    """Which revision takes how much: ``model-00002 10 %, model-00001 90 %``."""
    traffic = meta.dig(service, "status.components.predictor.traffic") or []
    return ", ".join(
        f"{part.get('revisionName', 'latest')} {part.get('percent', 0)}\N{NO-BREAK SPACE}%"
        for part in traffic
        if isinstance(part, dict)
    )


def _why(service: Object) -> str:
    if _is_ready(service):
        return ""
    for entry in meta.dig(service, "status.conditions") or ():
        if entry.get("status") != "True" and entry.get("message"):
            return str(entry["message"])
    return ""
