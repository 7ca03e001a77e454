"""``bessemer up``: run in the foreground until Ctrl-C, ``bessemer down`` or SIGTERM."""

from __future__ import annotations

import gc
import importlib
import logging
import sys
from typing import Annotated, Any

import typer

from bessemer.app import folder
from bessemer.base import logs
from bessemer.base.home import Home
from bessemer.cli import options


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
    main = _load(place)
    raise SystemExit(main.start(place, port, typer.echo))


def _load(home: Home) -> Any:
    """The composition root: by name, for no other command should pay for its imports."""
    if sys.dont_write_bytecode:
        # Where the environment forbids bytecode beside the source, each start would compile it
        # all again: twice as long. The home's cache may have it.
        sys.pycache_prefix = str(home.cache / "bytecode")
        sys.dont_write_bytecode = False
    gc.disable()
    try:
        return importlib.import_module("bessemer.app.main")
    finally:
        gc.freeze()  # what was imported stays: the collector need not look at it again
        gc.enable()
