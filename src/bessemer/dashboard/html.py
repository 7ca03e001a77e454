"""HTML as strings that can't be forgotten to be escaped.

``tag("a", "<", href="/x")`` is ``<a href="/x">&lt;</a>``: children that are no ``Html`` are text
and are escaped, attributes always are. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

# HTML's own; the elements of an SVG have to be closed.
_VOID = frozenset({"meta", "link", "br", "input"})


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(
    name: str, /, *children: Html | str | float | None, **attributes: str | float | None
) -> Html:
    """An element; ``class_`` and ``stroke_width`` become ``class`` and ``stroke-width``."""
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is not None:
            parts.append(f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"')
    parts.append(">")
    if name in _VOID and not children:
        return Html("".join(parts))
    return Html("".join(parts) + join(children) + f"</{name}>")


def join(children: Iterable[Html | str | float | None]) -> Html:
    """Several pieces in a row; None is nothing."""
    return Html(
        "".join(
            child if isinstance(child, Html) else escape(str(child))
            for child in children
            if child is not None
        )
    )


def table(headings: Iterable[str], rows: Iterable[Iterable[Html | str | float | None]]) -> Html:
    """A table; every row has a cell for each heading.

    On a phone a row is a card, where each cell but the first names its heading.
    """
    names = list(headings)
    head = tag("tr", *(tag("th", name) if name else tag("td") for name in names))
    shown = ["", *names[1:]]
    body = join(tag("tr", *map(_cell, shown, row)) for row in rows)
    content = tag("table", tag("thead", head), tag("tbody", body), class_="rows")
    return tag("div", content, class_="scroll")


def _cell(heading: str, content: Html | str | float | None) -> Html:
    return tag("td", content, data_name=heading)
