"""What all pages share: the frame, the style, how states, times and durations look. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from bessemer.dashboard.html import Html, join, tag

STYLE = """
:root { --ink:#1d2430; --soft:#667085; --line:#e4e7ec; --card:#fff; --page:#f5f6f8; --hot:#d9480f;
  --good:#0b7a4b; --bad:#b42318; --busy:#175cd3; --idle:#667085; }
* { box-sizing:border-box }
body { margin:0; background:var(--page); color:var(--ink);
  font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif }
header { background:#171b24; color:#fff; padding:.8rem 2rem; display:flex; gap:1rem;
  align-items:baseline; border-bottom:3px solid var(--hot) }
header a { color:#fff; font-weight:650; font-size:1.1rem; letter-spacing:.02em;
  text-decoration:none }
header span { color:#98a2b3 }
main { max-width:1200px; margin:0 auto; padding:1.2rem 2rem 4rem }
h1 { font-size:1.4rem; margin:.6rem 0 .2rem } h2 { font-size:1.05rem; margin:0 0 .8rem }
h3 { font-size:.95rem; margin:0 0 .4rem } h1,header span { overflow-wrap:anywhere }
section { background:var(--card); border:1px solid var(--line); border-radius:10px;
  padding:1.1rem 1.3rem; margin:1.1rem 0; box-shadow:0 1px 2px #1018280d }
.scroll { overflow-x:auto }
table { border-collapse:collapse; width:100% }
th { text-align:left; color:var(--soft); font-weight:550; font-size:.82rem }
th,td { padding:.42rem .9rem .42rem 0; border-bottom:1px solid var(--line);
  vertical-align:top }
tbody tr:last-child td { border-bottom:0 }
td:first-child { min-width:12rem; overflow-wrap:anywhere } time,.tight { white-space:nowrap }
a { color:var(--busy); text-decoration:none } a:hover { text-decoration:underline }
.soft { color:var(--soft) } .error { color:var(--bad); white-space:pre-wrap; font-size:.88rem }
.mono,pre,code { font-family:ui-monospace,"SF Mono",Menlo,"DejaVu Sans Mono",monospace;
  font-size:.86rem }
pre { white-space:pre-wrap; overflow-wrap:anywhere; margin:0 }
.pill { display:inline-block; padding:.05rem .6rem; border-radius:99px; font-size:.78rem;
  font-weight:600; white-space:nowrap; background:#f2f4f7; color:var(--idle) }
.pill.good { background:#e6f6ee; color:var(--good) } .pill.bad { background:#fdeceb;
  color:var(--bad) }
.pill.busy { background:#e8f0fe; color:var(--busy) }
.bar { position:relative; height:.55rem; width:100%; min-width:14rem; background:#f2f4f7;
  border-radius:4px; margin-top:.45rem }
.bar i { position:absolute; top:0; bottom:0; min-width:3px; border-radius:4px;
  background:var(--idle) }
.bar i.good { background:#32a874 } .bar i.bad { background:#e5584b } .bar i.busy {
  background:#4a86f0 }
.twig { color:#c3c9d4; white-space:pre }
.cards { display:grid; grid-template-columns:repeat(auto-fill,minmax(330px,1fr)); gap:1rem }
.card { border:1px solid var(--line); border-radius:8px; padding:.8rem 1rem; min-width:0;
  overflow-wrap:anywhere }
.wide { grid-column:1/-1 }
dl { display:grid; grid-template-columns:max-content 1fr; gap:.15rem 1.1rem; margin:.3rem 0 }
dt { color:var(--soft) } dd { margin:0; overflow-wrap:anywhere }
iframe { width:100%; height:26rem; border:1px solid var(--line); border-radius:6px;
  background:#fff }
.matrix { width:auto } .matrix td,.matrix th { text-align:center; padding:.45rem .9rem;
  border:1px solid var(--line); overflow-wrap:normal }
.more { margin-top:.8rem }
"""

_LOOKS = {
    "SUCCEEDED": "good",
    "CACHED": "good",
    "Ready": "good",
    "FAILED": "bad",
    "Not ready": "bad",
    "RUNNING": "busy",
    "CANCELING": "busy",
}


def page(title: str, *parts: Html | None, refresh: int = 0, script: Html | None = None) -> Html:
    """A whole page; with ``refresh``, it asks for itself again after so many seconds."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width,initial-scale=1"),
        tag("meta", http_equiv="refresh", content=refresh) if refresh else None,
        tag("title", f"{title} · Bessemer"),
        tag("style", Html(STYLE)),
    )
    top = tag("header", tag("a", "Bessemer", href="/"), tag("span", title))
    body = tag("body", top, tag("main", *parts), script)
    return Html("<!doctype html>" + tag("html", head, body, lang="en"))


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
