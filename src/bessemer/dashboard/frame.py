"""What all pages share: the frame, the style, how states, times and durations look. Pure.

No element has a ``style`` of its own: the policy knows the one style sheet (``assets``) alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from bessemer.dashboard.assets import SCRIPT, STYLE
from bessemer.dashboard.html import Html, join, tag

_LOOKS = {
    "SUCCEEDED": "good",
    "CACHED": "good",
    "Ready": "good",
    "FAILED": "bad",
    "Not ready": "bad",
    "RUNNING": "busy",
    "CANCELING": "busy",
}


@dataclass(frozen=True)
class Page:
    """What is drawn, before it gets its frame.

    Attributes:
        refresh: seconds after which it asks for itself again; 0: never.
    """

    title: str
    body: Html
    refresh: int = 0


class Viewer(NamedTuple):
    """Who looks at a page, and what a form of theirs proves itself with."""

    name: str
    proof: str


def page(title: str, *parts: Html | None, refresh: int = 0) -> Page:
    """A page of several parts."""
    return Page(title, join(parts), refresh)


def render(content: Page, viewer: Viewer | None) -> Html:
    """The whole document; None: nobody is signed in."""
    refresh = content.refresh
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width,initial-scale=1"),
        tag("meta", http_equiv="refresh", content=refresh) if refresh else None,
        tag("title", f"{content.title} · Bessemer"),
        tag("style", Html(STYLE)),
    )
    top = tag(
        "header",
        tag("a", "Bessemer", href="/"),
        tag("span", content.title, class_="title"),
        _draw_viewer(viewer) if viewer else None,
    )
    body = tag("body", top, tag("main", content.body), tag("script", Html(SCRIPT)))
    return Html("<!doctype html>" + tag("html", head, body, lang="en"))


def _draw_viewer(viewer: Viewer) -> Html:
    proof = tag("input", type="hidden", name="proof", value=viewer.proof)
    button = tag("button", "Sign out")
    return tag("form", tag("span", viewer.name), proof, button, method="post", action="/logout")


def look(state: str) -> str:
    """The style class of a state."""
    return _LOOKS.get(state, "")


def pill(state: str) -> Html:
    """A state as a coloured label."""
    return tag("span", state.capitalize(), class_=f"pill {look(state)}")


def when(moment: datetime | None) -> Html:
    """A moment as people read it, in UTC."""
    if moment is None:
        return Html("")
    moment = moment.astimezone(UTC)
    text = moment.strftime("%d %b %Y, %H:%M:%S")
    return tag("time", text, datetime=moment.isoformat(), title=f"{text} UTC")


def duration(start: datetime | None, end: datetime | None) -> str:
    """How long something took: ``0.4 s``, ``12 s``, ``3 min 5 s``, ``2 h 4 min``."""
    if start is None or end is None:
        return ""
    seconds = max((end - start).total_seconds(), 0.0)
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def facts(items: dict[str, Html | str]) -> Html:
    """Names and values; the empty ones are left out."""
    return tag(
        "dl", *(join((tag("dt", key), tag("dd", value))) for key, value in items.items() if value)
    )
