"""XGBoost models: boosters from JSON, UBJSON and .bst files, estimators from pickles.

xgboost imports scikit-learn wherever it is installed, which takes longer than all the rest of a
server's start; only pickled estimators need it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bessemer.base import lazily
from bessemer.modelserver.frameworks import files
from bessemer.modelserver.frameworks.base import Model

if TYPE_CHECKING:
    from bessemer.modelserver.frameworks import boosters
else:  # it imports xgboost, for which ``load`` hides scikit-learn
    boosters = lazily.module("bessemer.modelserver.frameworks.boosters")


def load(location: Path) -> Model:
    """The one xgboost model at a file or folder.

    Raises:
        LoadFailure: there is none, or it can't be read.
        ImportError: there is no xgboost.
    """
    file, form = files.find(location, files.XGBOOST_FORMS, "xgboost")
    needs_sklearn = form is files.Form.PICKLE
    with contextlib.nullcontext() if needs_sklearn else _without("sklearn"):
        load_here = boosters.load  # the first look at the module imports it
    return load_here(file, form)


@contextlib.contextmanager
def _without(package: str) -> Iterator[None]:
    """Let what is imported meanwhile find that package missing, unless it is there already."""
    if package in sys.modules:
        yield
        return
    # None there makes Python raise ModuleNotFoundError without a look at the disk.
    sys.modules[package] = None  # type: ignore[assignment]  # typeshed knows modules only
    try:
        yield
    finally:
        del sys.modules[package]
