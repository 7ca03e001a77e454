"""The pages' one style sheet and one script, and the headers that hold browsers to them. Pure.

Both are constants, and the policy names them by their hashes: what somebody gets into a page as
text is neither.
"""

from __future__ import annotations

import base64
import hashlib

_COLORS = """
:root { --ink:#1d2430; --soft:#5b6472; --line:#e4e7ec; --card:#fff; --page:#f5f6f8; --hot:#d9480f;
  --good:#0b7a4b; --bad:#b42318; --busy:#175cd3; --idle:#5b6472 }
"""
_LAYOUT = """
* { box-sizing:border-box }
body { margin:0; background:var(--page); color:var(--ink);
  font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif }
header { background:#171b24; color:#fff; padding:.8rem 2rem; display:flex; gap:.2rem 1rem;
  align-items:baseline; border-bottom:3px solid var(--hot); flex-wrap:wrap }
header>a { color:#fff; font-weight:650; font-size:1.1rem; letter-spacing:.02em }
header span { color:#98a2b3; min-width:0 } header .title { flex:1 1 12rem }
header form { display:flex; gap:.8rem; align-items:baseline; min-width:0 }
header button { background:none; color:#d0d5dd; border:1px solid #475467; padding:.1rem .6rem }
main { max-width:1200px; margin:0 auto; padding:1.2rem 2rem 4rem }
h1 { font-size:1.4rem; margin:.6rem 0 .2rem } h2 { font-size:1.05rem; margin:0 0 .8rem }
h3 { font-size:.95rem; margin:0 0 .4rem } h1,h3,header span { overflow-wrap:anywhere }
section { background:var(--card); border:1px solid var(--line); border-radius:10px;
  padding:1.1rem 1.3rem; margin:1.1rem 0; box-shadow:0 1px 2px #1018280d; min-width:0 }
a { color:var(--busy); text-decoration:none } a:hover { text-decoration:underline }
.soft { color:var(--soft) } .tight,time { white-space:nowrap }
.error,.waits { white-space:pre-wrap; overflow-wrap:anywhere; font-size:.88rem }
.error { color:var(--bad) } pre.error { border-left:3px solid #f3c9c5; padding-left:.7rem;
  margin:.2rem 0 .4rem; font-size:.8rem } .waits { color:var(--busy) }
.mono,pre,code { font-family:ui-monospace,"SF Mono",Menlo,"DejaVu Sans Mono",monospace;
  font-size:.86rem; overflow-wrap:anywhere }
pre { white-space:pre-wrap; margin:0 }
label { display:block; color:var(--soft); font-size:.85rem }
input { font:inherit; padding:.35rem .6rem; border:1px solid #98a2b3; border-radius:6px;
  width:100%; max-width:28rem; margin:.2rem 0 .8rem; display:block }
button { font:inherit; padding:.35rem 1rem; border:0; border-radius:6px; background:var(--busy);
  color:#fff; cursor:pointer }
iframe { width:100%; height:26rem; border:1px solid var(--line); border-radius:6px;
  background:#fff; display:block }
.more { margin-top:.8rem }
.tabs { display:flex; flex-wrap:wrap; gap:.3rem 1rem; margin:.4rem 0; padding:0; list-style:none }
.tabs b { border-bottom:2px solid var(--hot) }
"""
_TABLES = """
table { border-collapse:collapse; width:100% }
th { text-align:left; color:var(--soft); font-weight:550; font-size:.82rem }
th,td { padding:.42rem .9rem .42rem 0; border-bottom:1px solid var(--line); vertical-align:top }
th:last-child,td:last-child { padding-right:0 }
td { overflow-wrap:anywhere } tbody tr:last-child td { border-bottom:0 }
td:first-child { min-width:11rem }
.scroll { overflow-x:auto }
.matrix { width:auto } .matrix td,.matrix th { text-align:center; padding:.45rem .9rem;
  border:1px solid var(--line); overflow-wrap:normal; min-width:0 }
"""
_PARTS = """
.pill { display:inline-block; padding:.05rem .6rem; border-radius:99px; font-size:.78rem;
  font-weight:600; white-space:nowrap; background:#f2f4f7; color:var(--idle) }
.pill.good { background:#e6f6ee; color:var(--good) } .pill.bad { background:#fdeceb;
  color:var(--bad) }
.pill.busy { background:#e8f0fe; color:var(--busy) }
.bar { display:block; height:.55rem; width:100%; min-width:10rem; background:#f2f4f7;
  border-radius:4px; margin-top:.45rem }
.bar rect { fill:var(--idle); stroke:var(--idle); stroke-width:2px }
.bar .good { fill:#32a874; stroke:#32a874 } .bar .bad { fill:#e5584b; stroke:#e5584b }
.bar .busy { fill:#4a86f0; stroke:#4a86f0 }
.twig { color:#98a2b3; white-space:pre }
.cards { display:grid; grid-template-columns:repeat(auto-fill,minmax(min(330px,100%),1fr));
  gap:1rem }
.card { border:1px solid var(--line); border-radius:8px; padding:.8rem 1rem; min-width:0;
  overflow-wrap:anywhere }
.wide { grid-column:1/-1 } .card svg { max-width:100%; height:auto }
dl { display:grid; grid-template-columns:max-content minmax(0,1fr); gap:.15rem 1.1rem;
  margin:.3rem 0 }
dt { color:var(--soft); overflow-wrap:anywhere; max-width:40vw } dd { margin:0;
  overflow-wrap:anywhere }
.chart text { font:11px system-ui,sans-serif; fill:#5b6472 } .chart .x { text-anchor:middle }
.chart .y { text-anchor:end }
"""
# A row becomes a card: a table that is wider than a phone hides what is at its right.
_PHONE = """
@media (max-width:640px) {
  header { padding:.7rem 1rem } main { padding:.6rem .8rem 3rem }
  section { padding:.8rem .9rem }
  .rows thead { display:none } .rows,.rows tbody,.rows tr { display:block }
  .rows td { display:block; border:0; padding:.1rem 0; min-width:0 }
  .rows td:empty { display:none }
  .rows td[data-name]:not([data-name=""])::before { content:attr(data-name) ": ";
    color:var(--soft); font-size:.82rem }
  .rows tr { border-bottom:1px solid var(--line); padding:.5rem 0 }
  .rows tr:last-child { border-bottom:0 }
}
"""
_SHADES = 10
_HEAT = "".join(
    f".heat{shade} {{ background:rgba(217,72,15,{0.055 * shade:.3f}) }}\n"
    for shade in range(_SHADES + 1)
)
STYLE = _COLORS + _LAYOUT + _TABLES + _PARTS + _PHONE + _HEAT

# What only a browser can do: kfp prints links whose place is in the fragment, which is never sent;
# so is the code of a link that signs in.
SCRIPT = """
(() => {
  const form = document.getElementById("login");
  if (!form) {
    const follow = () => {
      const run = /^#\\/runs\\/details\\/([\\w-]+)/.exec(location.hash);
      if (run) location.replace("/runs/" + run[1]);
    };
    follow();
    addEventListener("hashchange", follow);
    return;
  }
  const onward = form.elements.next, path = onward.value;
  const enter = () => {
    const link = /^#code=([\\w-]+)(?:&next=(.*))?$/.exec(location.hash);
    if (!link) return;
    history.replaceState(null, "", location.pathname + location.search);
    form.elements.secret.value = link[1];
    if (link[2]) onward.value = decodeURIComponent(link[2]);
    form.submit();
  };
  form.addEventListener("submit", () => { onward.value = path + location.hash; });
  enter();
  addEventListener("hashchange", enter);
})();
"""


def digest(text: str) -> str:
    """A style's or script's hash as a policy names it."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


# Nothing from elsewhere, no style or script but these two, never in a frame.
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{digest(STYLE)}'; "
    f"script-src 'sha256-{digest(SCRIPT)}'; frame-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
#: Of whatever these pages answer with.
PRIVATE = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Not "no-referrer": by it a browser hides, in a form's Origin, that the form is our own.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
#: Of a page.
HEADERS = {
    **PRIVATE,
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


def heat(share: float) -> str:
    """The style class of a cell that has this share (0 to 1) of its row."""
    return f"heat{round(_SHADES * min(max(share, 0.0), 1.0))}"
