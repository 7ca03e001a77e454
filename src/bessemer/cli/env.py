"""``bessemer env``: what a shell needs to reach the running one, as export lines."""

from __future__ import annotations

import shlex

import typer

from bessemer.app import folder
from bessemer.cli import access, options


def command(
    home: options.Home = folder.DEFAULT,
    verbose: options.Verbose = False,  # noqa: ARG001, FBT002, RUF100 - every command takes it
) -> None:
    """Print export lines for a shell: eval "$(bessemer env)"."""
    running = access.Running(home)
    values = {
        "KUBECONFIG": str(running.home.kubeconfig),
        "BESSEMER_API": running.api,
        "BESSEMER_PIPELINES": running.pages,
        "BESSEMER_GATEWAY": running.gateway,
        "BESSEMER_TOKEN": running.token,
    }
    for name, value in values.items():
        typer.echo(f"export {name}={shlex.quote(value)}")
