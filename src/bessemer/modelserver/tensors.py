"""Tensors and the calls that carry them: the nouns between codecs, data plane and frameworks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bessemer.modelserver.errors import InvalidRequest

# Source: open-inference-protocol specification/protocol/inference_rest.md, "Tensor Data Types".
NUMPY_TYPES: Mapping[str, Any] = {
    "BOOL": np.dtype(np.bool_),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
BYTES = "BYTES"
_DATATYPES = {dtype: name for name, dtype in NUMPY_TYPES.items()}


def datatype_of(dtype: Any) -> str:
    """The protocol's name of a numpy type; text and objects are BYTES."""
    return _DATATYPES.get(np.dtype(dtype).newbyteorder("<"), BYTES)


@dataclass(frozen=True)
class Tensor:
    """A named array; of datatype BYTES the array holds ``str`` objects."""

    name: str
    datatype: str
    array: Any

    @property
    def shape(self) -> list[int]:
        """The array's shape, as JSON."""
        return list(self.array.shape)


@dataclass(frozen=True)
class Columns:
    """A table's equally long columns by name; those of texts hold ``str``, or None for a gap."""

    arrays: Mapping[str, Any]

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values()), ()))


@dataclass(frozen=True)
class InferRequest:
    """A call: inputs, the outputs wanted (name -> binary; empty: all), and its id."""

    id: str
    inputs: tuple[Tensor, ...]
    outputs: Mapping[str, bool] = field(default_factory=dict)
    binary: bool = False  # the default of outputs not named


@dataclass(frozen=True)
class InferResponse:
    """An answer."""

    model_name: str
    model_version: str
    id: str
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class TensorSpec:
    """What a model takes or gives; -1 in the shape is any number."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """As the protocol writes it."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


def shape_array(values: list[Any], dtype: Any, shape: tuple[int, ...], name: str) -> Any:
    """An array of that type and shape from nested or flat JSON values; null is NaN.

    numpy alone would read "1.5" as a number, true as 1, and 1.5 as the integer 1.

    Raises:
        InvalidRequest: a value is not of the type, or there are more or fewer than the shape says.
    """
    dtype = np.dtype(dtype)
    try:
        array = np.array(values)
        if array.size and array.dtype.kind not in _JSON_KINDS[dtype.kind]:
            _check_values(values, dtype, name)
            array = np.array(values, dtype=np.float64 if dtype.kind == "f" else dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidRequest(
            f"input {name!r}: every value must be {datatype_of(dtype)}, but {error}"
        ) from error
    if array.dtype == dtype:
        return reshape(array, shape, name)
    with np.errstate(over="ignore"):
        typed = array.astype(dtype, copy=False)
    lost = np.isinf(typed) if dtype.kind == "f" else typed != array
    if lost.any():
        raise InvalidRequest(
            f"input {name!r}: every value must be {datatype_of(dtype)}, but "
            f"{array[lost][0]} is out of its range"
        )
    return reshape(typed, shape, name)


# The kinds of arrays that numpy makes of JSON values of a type: bool, int, unsigned, float.
_JSON_KINDS = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}


def _check_values(values: Any, dtype: Any, name: str) -> None:
    for value in iterate(values):
        if dtype.kind == "b":
            fits = isinstance(value, bool)
        elif isinstance(value, float):
            fits = dtype.kind == "f" or value.is_integer()
        else:
            number = isinstance(value, int) and not isinstance(value, bool)
            fits = number or (value is None and dtype.kind == "f")
        if not fits:
            raise InvalidRequest(
                f"input {name!r}: every value must be {datatype_of(dtype)}, but got {value!r:.40}"
            )


def column_array(values: list[Any], name: str) -> tuple[str, Any]:
    """The datatype and array of one column's JSON values; null is NaN among numbers, else None.

    Raises:
        InvalidRequest: the values are not all numbers, all texts or all booleans.
    """
    kinds = {_KIND_OF.get(type(value), "") for value in values} - {"null"}
    gaps = None in values
    try:
        if kinds <= {"integer", "number"}:
            exact = kinds == {"integer"} and not gaps
            array = np.array(values, dtype="<i8" if exact else "<f8")
            return datatype_of(array.dtype), array
    except OverflowError as error:
        raise InvalidRequest(f"input {name!r}: an integer must have at most 64 bits") from error
    if kinds == {"boolean"} and not gaps:
        return "BOOL", np.array(values, dtype=bool)
    if kinds in ({"text"}, {"boolean"}):
        array = np.empty(len(values), dtype=object)
        array[:] = values
        return BYTES, array
    raise InvalidRequest(
        f"input {name!r}: a column must be all numbers, all texts or all booleans, got "
        f"{values!r:.80}"
    )


_KIND_OF: Mapping[type, str] = {
    bool: "boolean", int: "integer", float: "number", str: "text", type(None): "null",
}  # fmt: skip


def iterate(values: Any) -> Iterator[Any]:
    """The values in nested lists; call it only where numpy has found them no deeper than 64."""
    for value in values:
        if isinstance(value, list):
            yield from iterate(value)
        else:
            yield value


def to_plain(array: Any) -> Any:
    """An array as nested lists for JSON; of bytes and other objects as text."""
    if array.dtype.kind in "SO":
        texts = [
            value.decode(errors="replace") if isinstance(value, bytes) else str(value)
            for value in array.reshape(-1).tolist()
        ]
        return np.array(texts, dtype=object).reshape(array.shape).tolist()
    return array.tolist()


def reshape(array: Any, shape: tuple[int, ...], name: str) -> Any:
    """The array in that shape, or a refusal with both sizes."""
    if array.shape == shape:
        return array
    wanted = 1
    for size in shape:
        wanted *= size
    if wanted != array.size:
        raise InvalidRequest(
            f"input {name!r}: shape {list(shape)} takes {wanted} values, but data has "
            f"{array.size} (its own shape is {list(array.shape)})"
        )
    try:
        return array.reshape(shape)
    except (ValueError, OverflowError) as error:  # more than 64 sizes, or one beyond memory
        raise InvalidRequest(f"input {name!r}: shape {shape!r:.300} can't be: {error}") from error
