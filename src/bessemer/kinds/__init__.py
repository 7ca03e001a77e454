"""The nouns: one module a kind or family of kinds; spec, defaults, validation, columns. No I/O.

May import: ``base`` and the standard library.
An object is its JSON as Kubernetes writes it: a ``dict`` typed ``Object``; ``meta`` reads it.
To add a kind: a module here with a ``Kind`` in its ``KINDS``, and its name in ``catalog``.
"""
