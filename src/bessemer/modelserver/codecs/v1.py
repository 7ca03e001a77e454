"""The V1 protocol (as TensorFlow Serving's): instances in, predictions out."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from bessemer.modelserver.codecs import v2
from bessemer.modelserver.errors import InvalidRequest
from bessemer.modelserver.tensors import BYTES, InferRequest, InferResponse, Tensor, datatype_of


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
        if array.dtype == object and array.ndim:
            array = array.astype(np.float64)  # null is a missing value
    except (ValueError, TypeError) as error:
        raise InvalidRequest(
            f"instances must be equally long rows of numbers, or texts: {error}"
        ) from error
    if array.dtype.kind == "U":
        if not all(isinstance(instance, str) for instance in instances):
            raise InvalidRequest("instances must be all numbers or all texts, got both")
        array = array.astype(object)
    if array.dtype.kind not in "biufO":
        raise InvalidRequest(f"instances must be numbers or texts, got {array.dtype}")
    datatype = BYTES if array.dtype == object else datatype_of(array.dtype)
    return Tensor("input-0", datatype, array)


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
    return orjson.dumps({"predictions": response.outputs[0].array.tolist()})
