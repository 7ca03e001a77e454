"""Loaded XGBoost models: boosters, and estimators around one. ``xgboost`` imports it.

A booster answers what ``Booster.predict`` does (of a binary classifier: the probability), as
KServe's own xgboost server; a pickled XGBClassifier answers its labels.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from bessemer.modelserver.errors import InvalidRequest, LoadFailure
from bessemer.modelserver.frameworks import files
from bessemer.modelserver.frameworks.base import Signature
from bessemer.modelserver.tensors import TensorSpec

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
        return np.asarray(self._predict(rows))


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
    if isinstance(loaded, xgboost.Booster):
        loaded.set_param({"nthread": threads})
        return XGBoostModel(_in_place(loaded), _describe(loaded, file, "FP32"))
    if not callable(getattr(loaded, "predict", None)) or not hasattr(loaded, "get_booster"):
        raise LoadFailure(
            f"storageUri: {file} holds a {type(loaded).__name__}; expected a Booster or an "
            "estimator of xgboost"
        )
    loaded.set_params(n_jobs=threads)
    classes = hasattr(loaded, "n_classes_")
    signature = _describe(loaded.get_booster(), file, "INT64" if classes else "FP32")
    return XGBoostModel(loaded.predict, signature)


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


def _describe(booster: Any, file: Path, datatype: str) -> Signature:
    features = booster.num_features()
    outputs = np.asarray(_in_place(booster)(np.zeros((1, features), dtype=np.float32)))
    shape = (-1, *outputs.shape[1:]) if datatype == "FP32" else (-1,)
    return Signature(
        platform="xgboost",
        inputs=(TensorSpec("input-0", "FP32", (-1, features)),),
        outputs=(TensorSpec("output-0", datatype, shape),),
        file=file.name,
        framework_version=xgboost.__version__,
        features=features,
        feature_names=tuple(booster.feature_names or ()),
        rowwise=True,
    )


def _written_version(file: Path) -> str:
    match = _VERSION.search(file.read_bytes()[-4096:])
    return ".".join(part.decode() for part in match.groups()) if match else ""
