"""What can go wrong with the database, in one line for a person.

::

    DatabaseError            the database did not do it; nothing of the write is stored
      DiskFull               there is no room; what was stored is whole
      NewerDatabase          a newer program changed the database's form
"""

from bessemer.base.errors import BessemerError


class DatabaseError(BessemerError):
    """The database could not do it; nothing of the failed write is stored."""


class DiskFull(DatabaseError):
    """No room for a write: nothing of it is stored, later writes work once there is room."""


class NewerDatabase(DatabaseError):
    """The database was written by a newer program."""
