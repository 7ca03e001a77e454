"""What people see: aligned columns, marks in colour on a terminal, errors on one line."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import textwrap
import traceback
from collections.abc import Sequence
from typing import TextIO

import typer

_GAP = "  "
_FIXED_SPACE = "\N{NO-BREAK SPACE}"
_NARROWEST = 20  # columns that a text needs to be worth wrapping
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
    indent = sum(widths[:-1]) + len(_GAP) * (len(widths) - 1)
    for *line, last in lines:
        cells = []
        for cell, width in zip(line, widths[:-1], strict=True):
            padding = " " * (width - len(cell))
            cells.append(_paint(cell, _COLORS.get(cell), sys.stdout) + padding)
        typer.echo(_GAP.join([*cells, _wrap(last, indent, sys.stdout)]).rstrip())


def records(table: Sequence[Sequence[object]], names: Sequence[str]) -> None:
    """Print the rows as a JSON list of objects, for programs."""
    keys = [name.lower() for name in names]
    answer = [dict(zip(keys, row, strict=True)) for row in table]
    typer.echo(json.dumps(answer, indent=2))


def _paint(text: str, color: str | None, stream: TextIO) -> str:
    """In colour, where the terminal shows it and its owner wants it (https://no-color.org)."""
    is_wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return typer.style(text, fg=color) if color and is_wanted and stream.isatty() else text


def error(problem: BaseException, *, verbose: bool) -> None:
    """One line on stderr; before it the traceback if that was asked for."""
    if verbose:
        traceback.print_exception(problem, file=sys.stderr)
    text = str(problem) or type(problem).__name__
    typer.echo(_paint("error: ", typer.colors.RED, sys.stderr), nl=False, err=True)
    typer.echo(_wrap(text, len("error: "), sys.stderr), err=True)


def _wrap(text: str, indent: int, stream: TextIO) -> str:
    """Between words for a person's terminal, as it is for a program's pipe."""
    width = shutil.get_terminal_size().columns - indent
    if not stream.isatty() or width < _NARROWEST:
        return text
    # A command between backticks stays in one piece, to be copied.
    whole = re.sub(r"`[^`]*`", lambda found: found[0].replace(" ", _FIXED_SPACE), text)
    lines = textwrap.wrap(whole, width, break_long_words=False, break_on_hyphens=False)
    return ("\n" + " " * indent).join(lines).replace(_FIXED_SPACE, " ")


def size(count: int) -> str:
    """Bytes for people: ``1.5 MiB``."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
