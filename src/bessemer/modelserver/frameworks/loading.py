"""The table of frameworks, and the door through which a server loads its model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bessemer.base import lazily
from bessemer.modelserver.errors import LoadFailure
from bessemer.modelserver.frameworks.base import Model

if TYPE_CHECKING:
    from bessemer.modelserver.frameworks import sklearn, xgboost
else:  # an environment has one framework; the other's module can't be imported in it
    sklearn = lazily.module("bessemer.modelserver.frameworks.sklearn")
    xgboost = lazily.module("bessemer.modelserver.frameworks.xgboost")


class Framework(Protocol):
    """What a framework's module offers."""

    def load(self, location: Path, /) -> Model:
        """The one model at a file or folder.

        Raises:
            LoadFailure: there is none, or it can't be read.
            ImportError: the environment has no such framework.
        """
        ...


#: By the word of ``--framework``.
FRAMEWORKS: Mapping[str, Framework] = {"sklearn": sklearn, "xgboost": xgboost}


def load(framework: str, location: Path) -> Model:
    """Load the model at a file or folder.

    Raises:
        LoadFailure: there is no model of the framework there, or it can't be read.
    """
    if framework not in FRAMEWORKS:
        raise LoadFailure(f"--framework must be one of {', '.join(FRAMEWORKS)}, got {framework!r}")
    try:
        if not location.exists():  # known before the import of a framework takes its second
            raise LoadFailure(f"storageUri: nothing exists at {location}")
        return FRAMEWORKS[framework].load(location)
    except ImportError as error:
        raise LoadFailure(
            f"this environment can't serve {framework} models: {error}; install {framework} in it"
        ) from error
    except OSError as error:  # no right to it, a name too long, a disk that fails
        raise LoadFailure(f"storageUri: {location} can't be read: {error}") from error
