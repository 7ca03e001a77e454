"""The SQL engine, transactions and migrations, for what has a long history.

May import: ``base``. Each room that needs tables declares them itself, on the metadata of
``database.tables``.

To change how a database is opened, or what its errors mean, open ``sqlite`` or ``postgresql``;
how a statement differs by dialect, ``engine``; how writes share a commit, ``database``; how a
database gets its tables or is upgraded, ``schema``; to change a table, edit its room's tables and
add a file to ``migrations/versions`` (a test holds both equal).
"""
