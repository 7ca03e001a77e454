"""``bessemer open``: the pages in a browser, signed in; without one, the link to open."""

from __future__ import annotations

import os
import sys
import webbrowser
from typing import Annotated

import typer

from bessemer.app import folder
from bessemer.cli import access, options


def command(
    path: Annotated[str, typer.Argument(help="Which page, as /runs/ID; none: the first.")] = "/",
    link: Annotated[  # noqa: FBT002 - typer's form of a flag
        bool, typer.Option("--link", help="Print the link, and open nothing.")
    ] = False,
    home: options.Home = folder.DEFAULT,
    verbose: options.Verbose = False,  # noqa: ARG001, FBT002, RUF100 - every command takes it
) -> None:
    """Open the pages in a browser that is signed in; where there is none, print the link.

    The link signs in once, and for some minutes.
    """
    address = access.Running(home).login_link(path if path.startswith("/") else f"/{path}")
    if link or not _has_screen() or not webbrowser.open(address):
        typer.echo(address)


def _has_screen() -> bool:
    """Whether a browser would have a window: one of the terminal's is not meant."""
    if not sys.platform.startswith("linux") or os.environ.get("BROWSER"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
