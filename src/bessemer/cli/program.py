"""The program: its commands, and what happens to errors."""

from __future__ import annotations

import sys

import typer

from bessemer.base.errors import BessemerError
from bessemer.cli import doctor, down, env, logs, output, prune, status, up

app = typer.Typer(
    name="bessemer",
    help="Kubeflow in one process, and the same objects on Kubernetes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("up")(up.command)
app.command("down")(down.command)
app.command("status")(status.command)
app.command("env")(env.command)
app.command("doctor")(doctor.command)
app.command("logs")(logs.command)
app.command("prune")(prune.command)


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
