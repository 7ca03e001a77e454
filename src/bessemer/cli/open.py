"""``bessemer open``: sign a browser in to the pages by a link that works once."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Mapping
from typing import Annotated

import typer

from bessemer.app import folder
from bessemer.cli import access, options


def command(
    path: Annotated[str, typer.Argument(help="The page, as in its address: /runs/ID.")] = "/",
    browser: Annotated[  # noqa: FBT002 - typer's form of a flag
        bool, typer.Option(help="Open it, where there is a screen; else only print it.")
    ] = True,
    home: options.Home = folder.DEFAULT,
    verbose: options.Verbose = False,  # noqa: ARG001, FBT002, RUF100 - every command takes it
) -> None:
    """Print a link that signs a browser in to the pages, and open it where there is a screen."""
    link = access.Running(home).login_link("/" + path.lstrip("/"))
    typer.echo(link)
    if browser and has_screen(sys.platform, os.environ):
        webbrowser.open(link)


def has_screen(platform: str, environment: Mapping[str, str]) -> bool:
    """Whether a browser would show up; without a screen one of text would take the terminal."""
    return platform == "darwin" or any(
        environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
