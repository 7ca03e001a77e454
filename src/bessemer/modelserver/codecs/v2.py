"""Open Inference Protocol V2 over REST: JSON, and raw tensors behind it.

Whether raw tensors follow the JSON is said by Inference-Header-Content-Length alone, never by
Content-Type: tritonclient sends none with JSON.
"""

from __future__ import annotations

import base64
import uuid
from dataclasses import replace
from typing import Any

import numpy as np
import orjson

from bessemer.modelserver.codecs import binary
from bessemer.modelserver.errors import InvalidRequest
from bessemer.modelserver.tensors import (
    BYTES,
    NUMPY_TYPES,
    InferRequest,
    InferResponse,
    Tensor,
    reshape,
    shape_array,
    to_plain,
)


def decode(body: bytes, header_length: int | None) -> InferRequest:
    """The request in a body whose first ``header_length`` bytes are JSON (None: all of it).

    Raises:
        InvalidRequest: it breaks a rule of the protocol.
    """
    if header_length is not None and not 0 < header_length <= len(body):
        raise InvalidRequest(
            f"Inference-Header-Content-Length must be 1 to {len(body)} (the body's length), "
            f"got {header_length}"
        )
    call = parse(body if header_length is None else body[:header_length])
    inputs = call.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise InvalidRequest('"inputs" must be a list of at least one tensor')
    parameters = call.get("parameters") or {}
    default = _content_type(parameters, "the request", _REQUEST_CONTENT_TYPES)
    raw = _Raw(b"" if header_length is None else body[header_length:])
    tensors = tuple(_decode_input(entry, raw, default) for entry in inputs)
    raw.finish()
    identity = call.get("id")
    return InferRequest(
        id=str(identity) if identity not in (None, "") else str(uuid.uuid4()),
        inputs=tensors,
        outputs=_decode_outputs(call.get("outputs"), parameters),
        binary=bool(_get(parameters, "binary_data_output", default=False)),
    )


def parse(body: bytes) -> dict[str, Any]:
    """The JSON object in a body.

    Raises:
        InvalidRequest: it is no JSON, or no object.
    """
    try:
        call = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body must be JSON: {error}") from error
    if not isinstance(call, dict):
        raise InvalidRequest(f"the body must be a JSON object, got a {type(call).__name__}")
    return call


# As many as numpy's arrays; the product of a million sizes alone would take minutes.
_MOST_SIZES = 64


class _Raw:
    """The bytes after the JSON, taken tensor by tensor in order."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def take(self, size: int, name: str) -> bytes:
        end = self._at + size
        if end > len(self._body):
            raise InvalidRequest(
                f"input {name!r}: binary_data_size is {size}, but only "
                f"{len(self._body) - self._at} bytes are left after the JSON"
            )
        part = self._body[self._at : end]
        self._at = end
        return part

    def finish(self) -> None:
        if self._at != len(self._body):
            raise InvalidRequest(
                f"{len(self._body) - self._at} bytes after the JSON belong to no input; "
                "give each binary input its parameters.binary_data_size"
            )


# Source: MLServer, docs/user-guide/content-type.md. A request's is that of inputs without one.
_CONTENT_TYPES = ("np", "str", "base64")
_REQUEST_CONTENT_TYPES = ("pd", *_CONTENT_TYPES)


def _content_type(parameters: Any, whose: str, known: tuple[str, ...]) -> str:
    """What the data stand for; empty: what their datatype says.

    Raises:
        InvalidRequest: a content type that is not known here.
    """
    found = _get(parameters, "content_type", default=None)
    if found in (None, *known):
        return found or ""
    raise InvalidRequest(
        f"{whose}: parameters.content_type must be one of {', '.join(known)}, got {found!r:.40}"
    )


def _decode_input(entry: Any, raw: _Raw, default: str) -> Tensor:
    tensor = _read_input(entry, raw)
    own = entry.get("parameters") or {}
    content_type = _content_type(own, f"input {tensor.name!r}", _CONTENT_TYPES) or default
    if content_type != "base64":  # the others say what a tensor is anyway
        return tensor
    if tensor.datatype != BYTES:
        raise InvalidRequest(
            f"input {tensor.name!r}: content_type base64 is of BYTES, got {tensor.datatype}"
        )
    texts = [_decode_base64(text, tensor.name) for text in tensor.array.reshape(-1)]
    return replace(tensor, array=np.array(texts, dtype=object).reshape(tensor.array.shape))


def _decode_base64(text: str, name: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError as error:  # no base64, or no UTF-8 behind it
        raise InvalidRequest(
            f"input {name!r}: content_type base64 needs base64 of UTF-8 texts, but {error} in "
            f"{text!r:.40}"
        ) from error


def _read_input(entry: Any, raw: _Raw) -> Tensor:
    name, datatype, shape = _decode_heading(entry)
    parameters = entry.get("parameters") or {}
    size = _get(parameters, "binary_data_size", default=None)
    data = entry.get("data")
    if data is None:
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise InvalidRequest(
                f'input {name!r}: needs "data", or parameters.binary_data_size with its raw bytes '
                "after the JSON (and the header Inference-Header-Content-Length)"
            )
        return Tensor(name, datatype, binary.decode(raw.take(size, name), datatype, shape, name))
    if not isinstance(data, list):
        raise InvalidRequest(f'input {name!r}: "data" must be a list, got {data!r:.60}')
    if datatype == BYTES:
        texts = np.array(_flatten(data, name, max(1, len(shape))), dtype=object)
        return Tensor(name, datatype, reshape(texts, shape, name))
    return Tensor(name, datatype, shape_array(data, NUMPY_TYPES[datatype], shape, name))


def _decode_heading(entry: Any) -> tuple[str, str, tuple[int, ...]]:
    if not isinstance(entry, dict):
        raise InvalidRequest(f"an input must be an object, got {entry!r:.60}")
    name, datatype, shape = entry.get("name"), entry.get("datatype"), entry.get("shape")
    if not isinstance(name, str) or not name:
        raise InvalidRequest(f'an input needs a "name", got {name!r}')
    if not isinstance(datatype, str) or datatype not in (*NUMPY_TYPES, BYTES):
        raise InvalidRequest(
            f'input {name!r}: "datatype" must be one of {", ".join(NUMPY_TYPES)}, BYTES; '
            f"got {datatype!r}"
        )
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise InvalidRequest(f'input {name!r}: "shape" must be a list of sizes, got {shape!r:.60}')
    if len(shape) > _MOST_SIZES:
        raise InvalidRequest(
            f'input {name!r}: "shape" may have {_MOST_SIZES} sizes, but got {len(shape)}'
        )
    return name, datatype, tuple(shape)


def _flatten(data: list[Any], name: str, depth: int) -> list[str]:
    flat: list[str] = []
    for element in data:
        if isinstance(element, list) and depth > 1:
            flat += _flatten(element, name, depth - 1)
        elif isinstance(element, list):
            raise InvalidRequest(f'input {name!r}: "data" is nested deeper than its shape')
        elif isinstance(element, str):
            flat.append(element)
        else:
            raise InvalidRequest(
                f"input {name!r}: a BYTES value must be text, got {element!r:.40}"
            )
    return flat


def _decode_outputs(outputs: Any, parameters: Any) -> dict[str, bool]:
    if outputs is None:
        return {}
    if not isinstance(outputs, list):
        raise InvalidRequest(f'"outputs" must be a list, got {outputs!r:.60}')
    default = bool(_get(parameters, "binary_data_output", default=False))
    wanted = {}
    for entry in outputs:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise InvalidRequest(f'an output needs a "name", got {entry!r:.60}')
        own = entry.get("parameters") or {}
        wanted[entry["name"]] = bool(_get(own, "binary_data", default=default))
    return wanted


def _get(parameters: Any, key: str, *, default: Any) -> Any:
    if not isinstance(parameters, dict):
        raise InvalidRequest(f'"parameters" must be an object, got {parameters!r:.60}')
    return parameters.get(key, default)


def encode(response: InferResponse, request: InferRequest) -> tuple[bytes, int | None]:
    """The body, and the length of its JSON part when raw tensors follow it."""
    outputs, raw = [], []
    for tensor in response.outputs:
        entry: dict[str, Any] = {
            "name": tensor.name,
            "shape": tensor.shape,
            "datatype": tensor.datatype,
        }
        if request.outputs.get(tensor.name, request.binary):
            part = binary.encode(tensor.array, tensor.datatype)
            entry["parameters"] = {"binary_data_size": len(part)}
            raw.append(part)
        else:
            # tolist, not orjson's numpy: a float32 must become the double that equals it.
            entry["data"] = to_plain(np.ravel(tensor.array))
        outputs.append(entry)
    answer: dict[str, Any] = {"model_name": response.model_name}
    if response.model_version:
        answer["model_version"] = response.model_version
    answer["id"] = response.id
    answer["outputs"] = outputs
    text = orjson.dumps(answer)
    return (text + b"".join(raw), len(text)) if raw else (text, None)
