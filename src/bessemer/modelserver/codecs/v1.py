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
    datatype_of,
    iterate,
    shape_array,
    to_plain,
)


def decode(body: bytes, feature_names: tuple[str, ...]) -> InferRequest:
    """The request in a body; instances may be objects by the model's feature names.

    Raises:
        InvalidRequest: it breaks a rule of the protocol.
    """
    call = v2.parse(body)
    instances = call.get("inputs", call.get("instances"))
    if not isinstance(instances, list):
        raise InvalidRequest('the body must have a list "instances" (or "inputs")')
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
    """The answer's body."""
    return orjson.dumps({"predictions": to_plain(response.outputs[0].array)})
