"""KFP's ClassificationMetrics as pictures: the ROC curve as SVG, the confusion matrix as a table.

The metadata comes from users' programs, so nothing about its form is taken for granted. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from bessemer.dashboard.assets import heat
from bessemer.dashboard.html import Html, join, tag

_SIDE, _MARGIN = 240, 44  # pixels


def draw_metrics(metadata: Mapping[str, Any]) -> list[Html]:
    """The pictures that the metadata holds."""
    parts = []
    if points := _read_roc(metadata.get("confidenceMetrics")):
        parts.append(draw_roc(points))
    if matrix := _read_matrix(metadata.get("confusionMatrix")):
        parts.append(draw_matrix(*matrix))
    return parts


def _number(value: object) -> float | None:
    fits = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if fits and math.isfinite(value) else None  # type: ignore[arg-type]


def _read_roc(readings: object) -> list[tuple[float, float]]:
    """(false, true) positive rates; upstream wraps lists as {"list": […]} at times."""
    if isinstance(readings, dict):
        readings = readings.get("list")
    points = []
    for reading in readings if isinstance(readings, list) else ():
        if isinstance(reading, dict):
            x, y = _number(reading.get("falsePositiveRate")), _number(reading.get("recall"))
            if x is not None and y is not None:
                points.append((min(max(x, 0), 1), min(max(y, 0), 1)))
    return sorted(points)


def area_under(points: list[tuple[float, float]]) -> float:
    """The area under the curve, by trapezoids from (0, 0) to (1, 1)."""
    whole = [(0.0, 0.0), *points, (1.0, 1.0)]
    return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(whole))


def draw_roc(points: list[tuple[float, float]]) -> Html:
    """The curve in a square, with its area."""

    def at(x: float, y: float) -> str:
        return f"{_MARGIN + x * _SIDE:.1f},{8 + (1 - y) * _SIDE:.1f}"

    left, bottom = _MARGIN, _SIDE + 8
    ticks = [
        join(
            (
                tag("text", f"{tick:g}", x=left + tick * _SIDE, y=bottom + 15, class_="x"),
                tag("text", f"{tick:g}", x=left - 6, y=bottom - tick * _SIDE + 4, class_="y"),
            )
        )
        for tick in (0, 0.5, 1)
    ]
    middle = left + _SIDE / 2
    picture = tag(
        "svg",
        tag("rect", x=left, y=8, width=_SIDE, height=_SIDE, fill="#fafbfc", stroke="#e4e7ec"),
        tag("polyline", points=f"{at(0, 0)} {at(1, 1)}", fill="none", stroke="#c3c9d4",
            stroke_dasharray="4 4"),
        tag("polyline", points=" ".join(at(*point) for point in [(0.0, 0.0), *points, (1.0, 1.0)]),
            fill="none", stroke="#d9480f", stroke_width=2, stroke_linejoin="round"),
        *ticks,
        tag("text", "false positive rate", x=middle, y=bottom + 30, class_="x"),
        tag("text", "true positive rate", x=-bottom + _SIDE / 2, y=11, class_="x",
            transform="rotate(-90)"),
        viewBox=f"0 0 {_SIDE + _MARGIN + 12} {_SIDE + 46}",
        width=_SIDE + _MARGIN + 12,
        class_="chart",
        role="img",
        aria_label="ROC curve",
    )  # fmt: skip
    return tag("div", tag("h3", f"ROC curve, area {area_under(points):.4f}"), picture)


def _read_matrix(value: object) -> tuple[list[str], list[list[float]]] | None:
    if isinstance(value, dict) and isinstance(value.get("struct"), dict):
        value = value["struct"]
    if not isinstance(value, dict):
        return None
    names = [
        str(spec.get("displayName", "")) if isinstance(spec, dict) else str(spec)
        for spec in _list(value.get("annotationSpecs"))
    ]
    rows = [
        [_number(cell) or 0.0 for cell in _list(row.get("row") if isinstance(row, dict) else row)]
        for row in _list(value.get("rows"))
    ]
    if not names or len(rows) != len(names) or any(len(row) != len(names) for row in rows):
        return None
    return names, rows


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def draw_matrix(names: list[str], rows: list[list[float]]) -> Html:
    """True classes down, predicted across; the darker, the larger its share of the row."""
    head = tag("tr", tag("th", "true \\ predicted"), *(tag("th", name) for name in names))
    body = []
    for name, row in zip(names, rows, strict=True):
        total = sum(row) or 1
        cells = [tag("td", f"{cell:g}", class_=heat(abs(cell) / total)) for cell in row]
        body.append(tag("tr", tag("th", name), *cells))
    return tag(
        "div",
        tag("h3", "Confusion matrix"),
        tag("div", tag("table", head, *body, class_="matrix"), class_="scroll"),
    )
