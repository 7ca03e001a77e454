"""As in the program: the rooms' tables are known before a database starts."""

from bessemer.pipelines import tables

__all__ = ["tables"]
