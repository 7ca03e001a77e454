"""Loaded XGBoost models: boosters, and estimators around one. ``xgboost`` imports it.

A booster answers what ``Booster.predict`` does (of a binary classifier: the probability), as
KServe's own xgboost server; a pickled XGBClassifier answers its labels.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from bessemer.modelserver.errors import InvalidRequest, LoadFailure
from bessemer.modelserver.frameworks import files
from bessemer.modelserver.frameworks.base import Signature
from bessemer.modelserver.tensors import TensorSpec, datatype_of

_VERSION = re.compile(rb'"version":\[(\d+),(\d+),(\d+)\]')


class XGBoostModel:
    """A booster, or an estimator around one."""

    def __init__(self, predict: Any, signature: Signature) -> None:
        self.signature = signature
        self._predict = predict

    def predict(self, rows: Any) -> Any:
        """As the booster's predict, or the estimator's; NaN is a missing value.

        Raises:
            InvalidRequest: the rows are texts.
        """
        if isinstance(rows, list) or rows.dtype == object:
            raise InvalidRequest("the model takes numbers, got texts (BYTES)")
        _check_range(rows)
        return np.asarray(self._predict(rows))


def _check_range(rows: Any) -> None:
    """XGBoost computes in 32 bits: what doesn't fit would become infinity without a word."""
    if rows.dtype.kind != "f" or np.abs(rows).max(initial=0) <= _LARGEST:
        return
    wrong = rows[np.abs(rows) > _LARGEST]
    if wrong.size:  # else it was a NaN, which is a missing value
        raise InvalidRequest(
            f"every value must be FP32, the largest of which is {_LARGEST:g}, but {wrong[0]:g} "
            "is out of its range"
        )


_LARGEST = float(np.finfo(np.float32).max)


def load(file: Path, form: files.Form) -> XGBoostModel:
    """The model in a file.

    Raises:
        LoadFailure: it can't be read, or is no model of xgboost.
    """
    if form is files.Form.PICKLE and not xgboost.compat.SKLEARN_INSTALLED:
        raise LoadFailure(
            f"storageUri: {file} is a pickle, which needs scikit-learn, but this server has begun "
            "without it; start it again"
        )
    threads = int(os.environ.get("OMP_NUM_THREADS") or 1)
    try:
        loaded = files.unpickle(file) if form is files.Form.PICKLE else _read_booster(file, form)
    except Exception as error:
        wrote = _written_version(file)
        # xgboost's errors carry a native stack trace after the first lines.
        reason = str(error).split("\nStack trace", maxsplit=1)[0].strip()
        raise LoadFailure(
            f"storageUri: {file} can't be loaded: {type(error).__name__}: {reason}; "
            + (f"it was written by xgboost {wrote}, " if wrote else "")
            + f"this environment has xgboost {xgboost.__version__}"
        ) from error
    proba = os.environ.get("PREDICT_PROBA", "").lower() == "true"
    if isinstance(loaded, xgboost.Booster):
        loaded.set_param({"nthread": threads})
        predict = _in_place(loaded)
        if proba:
            predict = _make_proba(loaded, predict)
        return XGBoostModel(predict, _describe(loaded, file, predict))
    if not callable(getattr(loaded, "predict", None)) or not hasattr(loaded, "get_booster"):
        raise LoadFailure(
            f"storageUri: {file} holds a {type(loaded).__name__}; expected a Booster or an "
            "estimator of xgboost"
        )
    loaded.set_params(n_jobs=threads)
    if proba and not hasattr(loaded, "predict_proba"):
        raise LoadFailure(f"PREDICT_PROBA: {type(loaded).__name__} has no predict_proba()")
    predict = loaded.predict_proba if proba else loaded.predict
    return XGBoostModel(predict, _describe(loaded.get_booster(), file, predict))


def _make_proba(booster: Any, predict: Any) -> Any:
    """``predict`` as a probability for each class, which is what predict_proba gives."""
    objective = json.loads(booster.save_config())["learner"]["objective"]["name"]
    if objective == "multi:softprob":
        return predict
    if objective == "binary:logistic":

        def of_both(rows: Any) -> Any:
            positive = predict(rows)
            return np.stack([1 - positive, positive], axis=-1)

        return of_both
    raise LoadFailure(
        f"PREDICT_PROBA needs a booster of multi:softprob or binary:logistic, got {objective}; "
        "train it with one of these, or remove PREDICT_PROBA"
    )


def _read_booster(file: Path, form: files.Form) -> Any:
    # From memory: by path xgboost goes by the extension, and an artifact has none.
    booster = xgboost.Booster()
    if form is files.Form.XGBOOST_BINARY:
        booster.load_model(str(file))
    else:
        booster.load_model(bytearray(file.read_bytes()))
    return booster


def _in_place(booster: Any) -> Any:
    # The same trees as predict(DMatrix(rows)) without building a DMatrix; but gblinear has no such
    # way in.
    try:
        booster.inplace_predict(np.zeros((1, booster.num_features()), dtype=np.float32))
    except (xgboost.core.XGBoostError, ValueError, NotImplementedError):
        return lambda rows: booster.predict(xgboost.DMatrix(rows), validate_features=False)
    return booster.inplace_predict


def _describe(booster: Any, file: Path, predict: Any) -> Signature:
    features = booster.num_features()
    outputs = np.asarray(predict(np.zeros((1, features), dtype=np.float32)))
    shape = (-1, *outputs.shape[1:])
    return Signature(
        platform="xgboost",
        inputs=(TensorSpec("input-0", "FP32", (-1, features)),),
        outputs=(TensorSpec("output-0", datatype_of(outputs.dtype), shape),),
        file=file.name,
        framework_version=xgboost.__version__,
        features=features,
        feature_names=tuple(booster.feature_names or ()),
        rowwise=True,
    )


def _written_version(file: Path) -> str:
    match = _VERSION.search(file.read_bytes()[-4096:])
    return ".".join(part.decode() for part in match.groups()) if match else ""
