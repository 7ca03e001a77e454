"""The V1 protocol (as TensorFlow Serving's): instances in, predictions out."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from bessemer.modelserver.codecs import v2
from bessemer.modelserver.errors import InvalidRequest
from bessemer.modelserver.tensors import (
    BYTES,
    InferRequest,
    InferResponse,
    Tensor,
    column_array,
    datatype_of,
    iterate,
    shape_array,
    to_plain,
)


def decode(body: bytes, feature_names: tuple[str, ...], *, table: bool = False) -> InferRequest:
    """The request in a body; instances may be objects by the model's feature names.

    For a model of a table each feature becomes an input of its own, for columns may differ in
    type. An instance is then an object, a row of values, or a list of one such object, as KServe's
    server takes them.

    Raises:
        InvalidRequest: it breaks a rule of the protocol.
    """
    call = v2.parse(body)
    instances = call.get("inputs", call.get("instances"))
    if not isinstance(instances, list):
        raise InvalidRequest('the body must have a list "instances" (or "inputs")')
    if table:
        return InferRequest(id="", inputs=_columns(instances, feature_names))
    if instances and isinstance(instances[0], dict):
        instances = [_row(instance, feature_names) for instance in instances]
    return InferRequest(id="", inputs=(_tensor(instances),))


def _tensor(instances: list[Any]) -> Tensor:
    try:
        array = np.array(instances)
    except ValueError as error:
        raise InvalidRequest(
            f"instances must be equally long rows of numbers, or texts: {error}"
        ) from error
    kind = array.dtype.kind
    if kind == "O":  # null is a missing value
        return Tensor("input-0", "FP64", shape_array(instances, "f8", array.shape, "instances"))
    if kind == "U":
        if not all(isinstance(value, str) for value in iterate(instances)):
            raise InvalidRequest("instances must be all numbers or all texts, got both")
        return Tensor("input-0", BYTES, array.astype(object))
    return Tensor("input-0", datatype_of(array.dtype), array)


def _columns(instances: list[Any], names: tuple[str, ...]) -> tuple[Tensor, ...]:
    rows = [_table_row(instance, names) for instance in instances]
    columns = []
    for position, name in enumerate(names):
        datatype, array = column_array([row[position] for row in rows], name)
        columns.append(Tensor(name, datatype, array))
    return tuple(columns)


def _table_row(instance: Any, names: tuple[str, ...]) -> list[Any]:
    if isinstance(instance, list) and len(instance) == 1 and isinstance(instance[0], dict):
        instance = instance[0]
    if not isinstance(instance, list):
        return _row(instance, names)
    if len(instance) != len(names):
        raise InvalidRequest(
            f"an instance must have a value for each of the features {list(names)}, got "
            f"{instance!r:.300}"
        )
    return instance


def _row(instance: Any, names: tuple[str, ...]) -> list[Any]:
    if not names:
        raise InvalidRequest(
            "instances are objects, but the model knows no feature names; send rows of numbers"
        )
    if not isinstance(instance, dict) or set(instance) != set(names):
        given = sorted(instance) if isinstance(instance, dict) else instance
        raise InvalidRequest(
            f"an instance must have the features {list(names)}, got {given!r:.300}"
        )
    return [instance[name] for name in names]


def encode(response: InferResponse) -> bytes:
    """The answer's body: of each row its prediction, or a list of those of several outputs."""
    plain = [to_plain(output.array) for output in response.outputs]
    predictions = plain[0] if len(plain) == 1 else [list(row) for row in zip(*plain, strict=True)]
    return orjson.dumps({"predictions": predictions})
