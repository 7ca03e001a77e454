"""Programs of their own that run around and inside containers, standard library only, 3.8+.

``zygote`` answers requests (start, execute, warm) by forking; ``supervisor`` owns one container
attempt's folder; ``init`` is PID 1 beside the command; ``warm`` is the zygote of one environment,
``keeper`` PID 1 beside that; ``log`` writes and rotates a container's log.
Nobody imports them: the node's runtime starts ``zygote`` with the server's interpreter, and
``warm`` with an environment's. The words between them are in ``protocol``.
May import: the standard library; each other.
Its sockets: ``bindings`` decides, ``sockets`` and (warm) ``tenants`` do, ``notification`` is how.
To change what a container sees open ``root``; what it inherits and may do, ``confinement``; which
system calls, ``syscalls``;
how it is limited, ``limits``; what is written in its folder, ``folder``.
"""
