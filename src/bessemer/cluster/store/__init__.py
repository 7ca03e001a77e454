"""Objects at rest: one SQLite table, the live state in memory, one writer, watches.

May import: ``kube``, ``kinds``, ``base``. The only room that imports sqlite3.
``store.Store`` is the door; ``records`` has its nouns; ``file`` is the SQLite file and its
transactions; ``hub`` is watches and their history; ``encryption`` seals Secrets at rest;
``reserve`` is room for what must get through on a full disk.
"""
