"""Commands: up, down, status, env, open, kubeconfig, doctor, logs, prune.

May import every room. Each command is a module with a function ``command``; ``access`` talks to
a running Bessemer as any client would; ``output`` decides what people see; ``options`` are shared
by all. Errors end as one line on stderr and an exit code, a traceback only with ``--verbose``.
Nothing heavy is imported but by ``up``, which loads the composition root lazily. To change what
becomes of an error open ``program``; what a user is told of a running one, ``access``.
"""

from typing import TYPE_CHECKING

from bessemer.base import lazily
from bessemer.cli import interrupts

if TYPE_CHECKING:
    from bessemer.cli import program
else:
    program = lazily.module("bessemer.cli.program")


def main() -> None:
    """The console script: load the program, then run it."""
    with interrupts.end_at_once():
        run = program.main  # the first look at the module imports it
    run()
