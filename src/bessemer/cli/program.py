"""The program: its commands, and what happens to errors."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from bessemer import __version__
from bessemer.base.errors import BessemerError
from bessemer.cli import doctor, down, env, kubeconfig, logs, output, prune, status, up
from bessemer.cli import open as open_pages

app = typer.Typer(
    name="bessemer",
    help="Kubeflow in one process, and the same objects on Kubernetes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("up", short_help="Start everything; stay in the foreground until Ctrl-C.")(up.command)
app.command("down", short_help="End it with all its pods; data stays.")(down.command)
app.command("status", short_help="Say what is ready and what is not.")(status.command)
app.command("env", short_help="Print a shell's variables for clients.")(env.command)
app.command("open", short_help="Open the pages in a browser, signed in.")(open_pages.command)
app.command("kubeconfig", short_help="Print the kubeconfig, or merge it into yours.")(
    kubeconfig.command
)
app.command("doctor", short_help="Check this machine.")(doctor.command)
app.command("logs", short_help="List pods, or print a pod's log.")(logs.command)
app.command("prune", short_help="Free the disk of what can be made again.")(prune.command)


def _tell_version(asked: bool) -> None:  # noqa: FBT001 - typer's form of a flag
    if asked:
        typer.echo(f"bessemer {__version__}")
        raise typer.Exit


@app.callback()
def options_of_all(
    version: Annotated[  # noqa: ARG001, FBT002, RUF100 - its callback does all
        bool,
        typer.Option(
            "--version", callback=_tell_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Kubeflow in one process, and the same objects on Kubernetes."""


def main() -> None:
    """The console script. Exit codes: 0 done, 1 an error, 2 wrong usage, 130 interrupted."""
    verbose = bool({"--verbose", "-v"} & set(sys.argv[1:]))
    try:
        app(prog_name="bessemer")
    except BessemerError as problem:
        output.error(problem, verbose=verbose)
        raise SystemExit(1) from None
    except BrokenPipeError:  # the reader of a pipe (head, less) left: nobody to tell
        sys.stderr.close()
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as problem:  # noqa: BLE001 - the last line of defence: no raw traceback
        output.error(problem, verbose=verbose)
        if not verbose:
            typer.echo("This is a bug of Bessemer; --verbose shows where.", err=True)
        raise SystemExit(1) from None
