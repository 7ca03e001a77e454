"""Commands: up, down, status, env, doctor, logs, prune.

May import every room. Each command is a module with a function ``command``; ``access`` talks to
a running Bessemer as any client would; ``output`` decides what people see; ``options`` are shared
by all. Errors end as one line on stderr and an exit code, a traceback only with ``--verbose``.
Nothing heavy is imported but by ``up``, which loads the composition root by name.
"""

from bessemer.cli.program import main

__all__ = ["main"]
