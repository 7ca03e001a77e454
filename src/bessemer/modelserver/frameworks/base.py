"""The port of a loaded model, and the door to the framework modules.

Laws: ``predict`` gives for an array exactly what the framework's own predict gives for it;
``rowwise`` is only true where each row's answer is the same, to the bit, whichever rows are beside
it, so that rows of several requests may be predicted in one call.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bessemer.modelserver.errors import LoadFailure
from bessemer.modelserver.tensors import TensorSpec

FRAMEWORKS = ("sklearn", "xgboost")


@dataclass(frozen=True)
class Signature:
    """What a model is, takes and gives."""

    platform: str  # "sklearn"
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    file: str
    framework_version: str
    warnings: tuple[str, ...] = ()  # "the model was pickled by scikit-learn 1.5.0, ..."
    features: int | None = None  # columns of a row; None: the model takes any, or text
    feature_names: tuple[str, ...] = ()
    rowwise: bool = False
    text: bool = False  # may be given a list of strings
    table: bool = False  # is given Columns, named by feature_names


class Model(Protocol):
    """A loaded model."""

    signature: Signature

    def predict(self, rows: Any) -> Any:
        """The predictions for an array, a list of strings or Columns; may raise anything.

        An array, or a tuple of arrays where the model has several outputs of different shapes.
        """
        ...


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
        # By name: an environment has one framework; the other's module can't be imported in it.
        module = importlib.import_module(f"bessemer.modelserver.frameworks.{framework}")
        model: Model = module.load(location)
    except ImportError as error:
        raise LoadFailure(
            f"this environment can't serve {framework} models: {error}; install {framework} in it"
        ) from error
    except OSError as error:  # no right to it, a name too long, a disk that fails
        raise LoadFailure(f"storageUri: {location} can't be read: {error}") from error
    return model
