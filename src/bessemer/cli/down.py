"""``bessemer down``: ask the running one to end, and wait until it did."""

from __future__ import annotations

import os
import select
import signal
from typing import Annotated

import typer

from bessemer.app import folder
from bessemer.base.errors import BessemerError
from bessemer.cli import options


def command(
    home: options.Home = folder.DEFAULT,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for the end.")] = 60.0,
    verbose: options.Verbose = False,  # noqa: FBT002 - typer's form of a flag
) -> None:
    """End the Bessemer of a home with all its pods; objects, runs and volumes stay."""
    place = folder.locate(home)
    pid = folder.holder(place)
    if not pid:
        typer.echo(f"no Bessemer runs on home {place.root}")
        return
    if verbose:
        typer.echo(f"asking pid {pid} to end")
    try:
        # The descriptor is the process itself: its end is an event, and its pid can't be reused.
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(process, signal.SIGTERM)
        ended, _, _ = select.select([process], [], [], timeout)
    finally:
        os.close(process)
    if not ended:
        raise BessemerError(
            f"pid {pid} must end within {timeout:g} seconds, but still runs; wait longer with "
            f"--timeout, or end it at once with `kill -9 {pid}` (its pods then run on)"
        )
    typer.echo(f"Bessemer on home {place.root} ended")
