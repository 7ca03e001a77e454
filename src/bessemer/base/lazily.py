"""Modules that are imported when they are first used, and are seen by the tools all the same.

Some modules take long to import (an HTTP client, HTTP/2, Alembic, the whole composition root) and
few processes need them. Who uses one writes the ordinary import for mypy and import-linter, and
beside it what really happens::

    if TYPE_CHECKING:
        from bessemer.database import upgrade
    else:
        upgrade = lazily.module("bessemer.database.upgrade")

``tests/architecture/test_contracts.py`` holds that the two name the same module, and that nobody
imports our own modules by name in any other way.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any


class _LazyModule(ModuleType):
    """Stands for a module: the first attribute asked of it imports that, under Python's own lock.

    An import that fails raises where the attribute was asked, and is tried again the next time.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


def module(name: str) -> ModuleType:
    """The module of that full name, imported when its first attribute is asked for."""
    return _LazyModule(name)
