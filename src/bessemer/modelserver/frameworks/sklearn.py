"""scikit-learn models: anything with predict, from joblib and pickle files."""

from __future__ import annotations

import contextlib
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from sklearn.base import BaseEstimator, is_classifier
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.preprocessing import FunctionTransformer

from bessemer.modelserver.errors import InvalidRequest, LoadFailure
from bessemer.modelserver.frameworks import files
from bessemer.modelserver.frameworks.base import Signature
from bessemer.modelserver.tensors import TensorSpec, datatype_of

# Each tree looks at one row at a time, so sums can't depend on the rows beside it.
_ROWWISE_MODULES = ("sklearn.tree.", "sklearn.ensemble._forest", "sklearn.ensemble._hist_gradient")


class SklearnModel:
    """A fitted estimator."""

    def __init__(self, estimator: Any, signature: Signature, *, proba: bool) -> None:
        self.signature = signature
        self._predict = estimator.predict_proba if proba else estimator.predict

    def predict(self, rows: Any) -> Any:
        """As the estimator's predict (predict_proba where PREDICT_PROBA=true).

        Raises:
            InvalidRequest: NaN or infinity, which this estimator doesn't take.
        """
        finite = not isinstance(rows, list) and (
            rows.dtype.kind in "biu" or (rows.dtype.kind == "f" and np.isfinite(rows).all())
        )
        # Checked above, once for the whole batch: scikit-learn needn't check again.
        with sklearn.config_context(assume_finite=finite, skip_parameter_validation=True):
            if finite:
                return np.asarray(self._predict(rows))
            try:
                return np.asarray(self._predict(rows))
            except ValueError as error:
                raise InvalidRequest(f"the model refuses these values: {error}") from error


def load(location: Path) -> SklearnModel:
    """The one sklearn model at a file or folder."""
    file, _ = files.find(location, files.SKLEARN_FORMS, "sklearn")
    estimator, notes = unpickle(file)
    if not callable(getattr(estimator, "predict", None)):
        raise LoadFailure(
            f"storageUri: {file} holds a {type(estimator).__name__}, which has no predict(); "
            "save the fitted estimator itself"
        )
    proba = os.environ.get("PREDICT_PROBA", "").lower() == "true"
    if proba and not hasattr(estimator, "predict_proba"):
        raise LoadFailure(f"PREDICT_PROBA: {type(estimator).__name__} has no predict_proba()")
    # One line a request otherwise, for models fitted on a DataFrame.
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    return SklearnModel(estimator, _describe(estimator, file, notes, proba=proba), proba=proba)


def unpickle(file: Path) -> tuple[Any, tuple[str, ...]]:
    """The object in the file, and what is to be said of the version that wrote it.

    Raises:
        LoadFailure: it can't be read; the text names both versions where they differ.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            estimator = files.unpickle(file)
        except Exception as error:
            wrote = files.pickled_version(file)
            versions = f"; it was written by scikit-learn {wrote}, " if wrote else "; "
            raise LoadFailure(
                f"storageUri: {file} can't be loaded: {type(error).__name__}: {error}{versions}"
                f"this environment has scikit-learn {sklearn.__version__}"
            ) from error
    versions_met = {
        warning.message.original_sklearn_version
        for warning in caught
        if isinstance(warning.message, InconsistentVersionWarning)
    }
    return estimator, tuple(
        f"the model was pickled by scikit-learn {version}, this environment has "
        f"{sklearn.__version__}: predictions may differ; set modelFormat.version"
        for version in sorted(versions_met)
    )


def _describe(estimator: Any, file: Path, notes: tuple[str, ...], *, proba: bool) -> Signature:
    features = getattr(estimator, "n_features_in_", None)
    names = getattr(estimator, "feature_names_in_", None)
    rows = TensorSpec("input-0", "FP64", (-1, features)) if features is not None else None
    return Signature(
        platform="sklearn",
        inputs=(rows or TensorSpec("input-0", "BYTES", (-1,)),),
        outputs=(_describe_output(estimator, features, proba=proba),),
        file=file.name,
        framework_version=sklearn.__version__,
        warnings=notes,
        features=features,
        feature_names=tuple(str(name) for name in names) if names is not None else (),
        rowwise=not proba and _is_rowwise(estimator),
        text=features is None,
    )


def _describe_output(estimator: Any, features: int | None, *, proba: bool) -> TensorSpec:
    """As a row of zeros is answered; by its classes where it can't be asked."""
    predict = estimator.predict_proba if proba else estimator.predict
    if features is not None and _is_all_stock(estimator):
        with contextlib.suppress(ValueError, TypeError):  # zeros are no category that it knows
            array = np.asarray(predict(np.zeros((1, features))))
            return TensorSpec("output-0", datatype_of(array.dtype), (-1, *array.shape[1:]))
    classes = getattr(estimator, "classes_", None)
    if proba:
        return TensorSpec("output-0", "FP64", (-1, -1 if classes is None else len(classes)))
    labels = classes if isinstance(classes, np.ndarray) else None
    return TensorSpec("output-0", "FP64" if labels is None else datatype_of(labels.dtype), (-1,))


def _is_rowwise(estimator: Any) -> bool:
    """Labels of scikit-learn's own classifiers, and values of its trees.

    Not of linear regressions: BLAS adds up one row and many rows in different orders.
    """
    if not _is_all_stock(estimator):
        return False
    return is_classifier(estimator) or type(estimator).__module__.startswith(_ROWWISE_MODULES)


def _is_all_stock(estimator: Any) -> bool:
    """Whether it and all its parts are scikit-learn's own."""
    parts = [estimator, *_parameters(estimator)]
    return all(_is_stock(part) for part in parts if isinstance(part, BaseEstimator))


def _parameters(estimator: Any) -> list[Any]:
    return list(estimator.get_params(deep=True).values()) if _is_stock(estimator) else []


def _is_stock(part: Any) -> bool:
    return type(part).__module__.startswith("sklearn.") and not isinstance(
        part, FunctionTransformer
    )
