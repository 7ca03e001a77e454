"""What starts and ends processes for the node agent: one port, two implementations.

``base`` is the port and its laws; ``sandbox`` fulfils it with Linux namespaces, ``process``
without isolation; ``choose`` tries what this machine can do. Both are ``launched``: they write
what to run, and forks of the ``zygotes`` run it. ``tests/contract/runtime/`` holds both to the
laws. May import: ``kinds``, ``base``; starts the ``launcher`` programs, never imports them.
To change what of the machine a container sees open ``layout``; which limits hold,
``cgroups``; how a log's files are read as one, ``rotation``.
"""
