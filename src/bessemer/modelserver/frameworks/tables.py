"""Scikit-learn models of tables: which need their columns by name, and what the columns hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from bessemer.modelserver.tensors import BYTES, TensorSpec, datatype_of


def chooses_columns_by_name(estimator: Any) -> bool:
    """Whether it was fitted on a table whose columns some part of it chooses by their names.

    A model that was fitted on a table but takes the columns by position answers an array too, and
    faster.
    """
    if getattr(estimator, "feature_names_in_", None) is None:
        return False
    ask = getattr(estimator, "get_params", dict)  # who has no parameters has no parts
    parts = [estimator, *ask().values()]
    chosen = (
        columns
        for part in parts
        if isinstance(part, ColumnTransformer)
        for _, _, columns in part.transformers
    )
    return any(_is_by_name(columns) for columns in chosen) or _may_ask_by_name(estimator)


def _is_by_name(columns: Any) -> bool:
    """A selector (make_column_selector) is called with the DataFrame that it chooses from."""
    if isinstance(columns, str) or callable(columns):
        return True
    if isinstance(columns, slice):
        return isinstance(columns.start, str) or isinstance(columns.stop, str)
    return isinstance(columns, list | tuple) and any(isinstance(name, str) for name in columns)


def _may_ask_by_name(estimator: Any) -> bool:
    """Whether the first step is somebody's own, which may do anything with a DataFrame."""
    first = estimator.steps[0][1] if isinstance(estimator, Pipeline) else estimator
    return not type(first).__module__.startswith("sklearn.") or bool(getattr(first, "func", None))


def describe_columns(estimator: Any) -> tuple[TensorSpec, ...]:
    """An input for each column, as far as the fitted parts tell: BYTES for texts, else FP64.

    A column that is passed through untouched leaves no trace of its type: it is told as FP64, and
    takes truths too.
    """
    names = [str(name) for name in estimator.feature_names_in_]
    datatypes = dict.fromkeys(names, "FP64")
    for transformer, columns in _transformers(estimator):
        for position, name in enumerate(columns):
            if found := _datatype_of(transformer, position):
                datatypes[name if isinstance(name, str) else names[name]] = found
    return tuple(TensorSpec(name, datatypes[name], (-1,)) for name in names)


def _transformers(estimator: Any) -> Iterator[tuple[Any, list[Any]]]:
    """The fitted transformers of the first ColumnTransformer, each with its columns."""
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[0][1]
    # A search has its winner, a wrapper its inner estimator, which saw the same columns.
    inner = getattr(estimator, "best_estimator_", None)
    if inner is not None:
        yield from _transformers(inner)
    if not isinstance(estimator, ColumnTransformer):
        return
    for _, transformer, columns in estimator.transformers_:
        yield transformer, _list(columns, estimator)


def _list(columns: Any, estimator: Any) -> list[Any]:
    """A transformer's columns as names or positions: one, several, a slice, or a mask."""
    if isinstance(columns, str | int):
        return [columns]
    if isinstance(columns, slice):
        names = [str(name) for name in estimator.feature_names_in_]
        return names[_bound(columns.start, names, 0) : _bound(columns.stop, names, 1)]
    found = np.asarray(columns)
    if found.dtype == bool:
        return [int(position) for position in np.flatnonzero(found)]
    return [str(one) if found.dtype.kind in "OU" else int(one) for one in found]


def _bound(end: Any, names: list[str], past: int) -> int | None:
    """An end of a slice as a position; one by name is included, as pandas has it."""
    return names.index(end) + past if isinstance(end, str) else end


def _datatype_of(transformer: Any, position: int) -> str:
    """What a fitted transformer saw in one of its columns; empty: it does not tell."""
    steps = [step for _, step in transformer.steps] if isinstance(transformer, Pipeline) else []
    for step in steps or [transformer]:
        if hasattr(step, "vocabulary_"):
            return BYTES
        categories = getattr(step, "categories_", None)
        if categories is not None:
            return datatype_of(categories[position].dtype)
        statistics = getattr(step, "statistics_", None)
        if statistics is not None and isinstance(statistics[position], str):
            return BYTES
    return ""
