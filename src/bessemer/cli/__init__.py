"""Commands: up, down, status, env, doctor, logs, prune.

May import every room. Each command is a module; ``output`` decides what people see; errors
end as one line on stderr and an exit code, a traceback only with ``--verbose``.
"""
