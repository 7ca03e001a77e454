"""What people see: aligned columns, marks in colour on a terminal, errors on one line."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

import typer

_COLORS = {
    "ok": typer.colors.GREEN,
    "ready": typer.colors.GREEN,
    "warn": typer.colors.YELLOW,
    "waiting": typer.colors.YELLOW,
    "fail": typer.colors.RED,
    "down": typer.colors.RED,
}


def rows(table: Sequence[Sequence[str]], heads: Sequence[str] = ()) -> None:
    """Print columns as wide as their widest cell; known marks in colour."""
    lines = [list(heads), *map(list, table)] if heads else [list(row) for row in table]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        cells = []
        for cell, width in zip(line, widths, strict=True):
            padding = " " * (width - len(cell))
            color = _COLORS.get(cell)
            cells.append((typer.style(cell, fg=color) if color else cell) + padding)
        typer.echo("  ".join(cells).rstrip())


def error(problem: BaseException, *, verbose: bool) -> None:
    """One line on stderr; before it the traceback if that was asked for."""
    if verbose:
        traceback.print_exception(problem, file=sys.stderr)
    text = str(problem) or type(problem).__name__
    typer.secho("error: ", fg=typer.colors.RED, nl=False, err=True)
    typer.echo(text, err=True)


def size(count: int) -> str:
    """Bytes for people: ``1.5 MiB``."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
