"""The port of a loaded model.

Laws: ``predict`` gives for an array exactly what the framework's own predict gives for it;
``rowwise`` is only true where each row's answer is the same, to the bit, whichever rows are beside
it, so that rows of several requests may be predicted in one call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from bessemer.modelserver.tensors import TensorSpec


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
