"""``bessemer up``: run in the foreground until Ctrl-C, ``bessemer down`` or SIGTERM."""

from __future__ import annotations

import gc
import importlib.util
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bessemer.app import folder
from bessemer.base import lazily, logs
from bessemer.base.home import Home
from bessemer.cli import interrupts, options

if TYPE_CHECKING:
    from bessemer.app import main
else:  # the composition root imports everything, and no other command should pay for that
    main = lazily.module("bessemer.app.main")


def command(
    home: options.Home = folder.DEFAULT,
    port: Annotated[
        int | None,
        typer.Option(
            help="P: the https API; P+1 the pages by http, P+2 the gateway. Kept in the home.",
        ),
    ] = None,
    verbose: options.Verbose = False,  # noqa: FBT002 - typer's form of a flag
) -> None:
    """Start everything and stay in the foreground; Ctrl-C ends it and all its pods."""
    logs.configure(logging.DEBUG if verbose else logging.WARNING)
    place = folder.locate(home)
    folder.prepare(place)
    raise SystemExit(_load(place)(place, port, _say))


def _say(text: str) -> None:
    """To whoever still reads: an end that can't be told must end all pods all the same."""
    try:
        typer.echo(text)
    except OSError:  # the terminal was closed, the pipe's reader left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _load(home: Home) -> Callable[[Home, int | None, Callable[[str], None]], int]:
    """Import the composition root; its function ``start``."""
    keep_bytecode(home)
    gc.disable()
    try:
        with interrupts.end_at_once():
            return main.start
    finally:
        gc.freeze()  # what was imported stays: the collector need not look at it again
        gc.enable()


def keep_bytecode(home: Home) -> None:
    """Where Python may not write bytecode beside the source, write it to the user's cache.

    Else each start would compile everything again, which takes longer than all the rest. One
    place for all homes, for a new home should start as fast as a known one.
    """
    if not sys.dont_write_bytecode or sys.pycache_prefix or _is_compiled():
        return
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    place = cache / "bessemer" / "bytecode"
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        # What others may have written is not to be run.
        is_ours = place.stat().st_uid == os.getuid() and os.access(place, os.W_OK)
    except OSError:
        is_ours = False
    sys.pycache_prefix = str(place if is_ours else home.cache / "bytecode")
    sys.dont_write_bytecode = False


def _is_compiled() -> bool:
    """Whether the installer compiled this program."""
    return os.path.exists(importlib.util.cache_from_source(__file__))
