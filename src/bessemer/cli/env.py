"""``bessemer env``: what a shell needs to reach the running one, as export lines."""

from __future__ import annotations

import shlex
from enum import StrEnum
from typing import Annotated

import typer

from bessemer.app import folder
from bessemer.cli import access, options


class Shell(StrEnum):
    """The shell in whose words the lines are written."""

    POSIX = "posix"  # bash, zsh, dash, ksh
    FISH = "fish"


def command(
    shell: Annotated[Shell, typer.Option(help="Whose words: posix (bash, zsh) or fish.")] = (
        Shell.POSIX
    ),
    home: options.Home = folder.DEFAULT,
    verbose: options.Verbose = False,  # noqa: ARG001, FBT002, RUF100 - every command takes it
) -> None:
    """Print a shell's variables: eval "$(bessemer env)", or bessemer env --shell fish | source."""
    running = access.Running(home)
    values = {
        "KUBECONFIG": str(running.home.kubeconfig),
        "BESSEMER_API": running.api,
        "BESSEMER_PIPELINES": running.pages,
        "BESSEMER_GATEWAY": running.gateway,
        "BESSEMER_TOKEN": running.token,
        # Where the KFP SDK's links to runs and experiments lead.
        "KF_PIPELINES_UI_ENDPOINT": running.pages,
    }
    for name, value in values.items():
        typer.echo(assign(shell, name, value))


def assign(shell: Shell, name: str, value: str) -> str:
    """The line by which the shell exports the variable with exactly this value."""
    match shell:
        case Shell.POSIX:
            return f"export {name}={shlex.quote(value)}"
        case Shell.FISH:
            # Between single quotes fish knows two escapes, and no others.
            quoted = value.replace("\\", "\\\\").replace("'", "\\'")
            return f"set -gx {name} '{quoted}'"
