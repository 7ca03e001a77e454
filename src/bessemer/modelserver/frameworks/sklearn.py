"""scikit-learn models: anything with predict, from joblib and pickle files."""

from __future__ import annotations

import contextlib
import importlib
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
from bessemer.modelserver.frameworks import files, tables
from bessemer.modelserver.frameworks.base import Signature
from bessemer.modelserver.tensors import Columns, TensorSpec, datatype_of

# Each tree looks at one row at a time, so sums can't depend on the rows beside it.
_ROWWISE_MODULES = ("sklearn.tree.", "sklearn.ensemble._forest", "sklearn.ensemble._hist_gradient")


class SklearnModel:
    """A fitted estimator."""

    def __init__(self, estimator: Any, signature: Signature, *, proba: bool) -> None:
        self.signature = signature
        self._predict = estimator.predict_proba if proba else estimator.predict
        # By name, and only for who needs it: its import takes as long as scikit-learn's.
        self._pandas = importlib.import_module("pandas") if signature.table else None

    def predict(self, rows: Any) -> Any:
        """As the estimator's predict (predict_proba where PREDICT_PROBA=true).

        Raises:
            InvalidRequest: NaN or infinity, which this estimator doesn't take.
        """
        if isinstance(rows, Columns):
            return self._predict_table(rows)
        finite = not isinstance(rows, list) and (
            rows.dtype.kind in "biu" or (rows.dtype.kind == "f" and np.isfinite(rows).all())
        )
        # Checked above, once for the whole batch: scikit-learn needn't check again.
        with sklearn.config_context(assume_finite=finite, skip_parameter_validation=True):
            if finite:
                return _as_arrays(self._predict(rows))
            try:
                return _as_arrays(self._predict(rows))
            except ValueError as error:
                raise InvalidRequest(f"the model refuses these values: {error}") from error

    def _predict_table(self, columns: Columns) -> Any:
        # Lists, so that pandas finds the types as it does for a DataFrame of the user's own.
        table = {
            name: values.tolist() if values.dtype == object else values
            for name, values in columns.arrays.items()
        }
        assert self._pandas is not None  # of a signature with a table
        try:
            return _as_arrays(self._predict(self._pandas.DataFrame(table)))
        except (ValueError, TypeError) as error:
            raise InvalidRequest(f"the model refuses these values: {error}") from error


def _as_arrays(predicted: Any) -> Any:
    """An array, or a tuple of them: predict_proba of several outputs gives a list of arrays."""
    if isinstance(predicted, list) and all(isinstance(each, np.ndarray) for each in predicted):
        return tuple(predicted)
    return np.asarray(predicted)


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
            raise LoadFailure(_explain(file, error)) from error
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


def _explain(file: Path, error: Exception) -> str:
    """Why a pickle can't be read: the cure before the error, which may be long."""
    # Errors of unpickling carry whole structures after their first words.
    reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]:.200}"
    wrote = files.pickled_version(file)
    if not wrote or wrote == sklearn.__version__:
        return (
            f"storageUri: {file} can't be loaded by scikit-learn {sklearn.__version__}: {reason}"
        )
    return (
        f"storageUri: {file} was written by scikit-learn {wrote}, and scikit-learn "
        f"{sklearn.__version__} of this environment can't read it; set "
        f"spec.predictor.model.runtimeVersion to {wrote!r}, or save the model anew ({reason})"
    )


def _describe(estimator: Any, file: Path, notes: tuple[str, ...], *, proba: bool) -> Signature:
    features = getattr(estimator, "n_features_in_", None)
    names = getattr(estimator, "feature_names_in_", None)
    table = tables.chooses_columns_by_name(estimator)
    return Signature(
        platform="sklearn",
        inputs=tables.describe_columns(estimator) if table else (_describe_rows(features),),
        outputs=_describe_outputs(estimator, None if table else features, proba=proba),
        file=file.name,
        framework_version=sklearn.__version__,
        warnings=notes,
        features=features,
        feature_names=tuple(str(name) for name in names) if names is not None else (),
        rowwise=not proba and not table and _is_rowwise(estimator),
        text=features is None,
        table=table,
    )


def _describe_rows(features: int | None) -> TensorSpec:
    if features is None:
        return TensorSpec("input-0", "BYTES", (-1,))
    return TensorSpec("input-0", "FP64", (-1, features))


def _describe_outputs(
    estimator: Any, features: int | None, *, proba: bool
) -> tuple[TensorSpec, ...]:
    """As a row of zeros is answered; by its classes where it can't be asked."""
    predict = estimator.predict_proba if proba else estimator.predict
    if features is not None and _is_all_stock(estimator):
        with contextlib.suppress(ValueError, TypeError):  # zeros are no category that it knows
            answered = _as_arrays(predict(np.zeros((1, features))))
            arrays = answered if isinstance(answered, tuple) else (answered,)
            return tuple(
                TensorSpec(f"output-{index}", datatype_of(array.dtype), (-1, *array.shape[1:]))
                for index, array in enumerate(arrays)
            )
    classes = getattr(estimator, "classes_", None)
    if proba:
        each = classes if isinstance(classes, list) else [classes]
        return tuple(
            TensorSpec(f"output-{index}", "FP64", (-1, -1 if one is None else len(one)))
            for index, one in enumerate(each)
        )
    labels = classes if isinstance(classes, np.ndarray) else None
    datatype = "FP64" if labels is None else datatype_of(labels.dtype)
    return (TensorSpec("output-0", datatype, (-1,)),)


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
