"""Raw tensors of the V2 binary extension: little-endian, row-major; BYTES with length prefixes.

Source: Triton's protocol/extension_binary_data.md.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from bessemer.modelserver.errors import InvalidRequest
from bessemer.modelserver.tensors import BYTES, NUMPY_TYPES, reshape

_LENGTH = struct.Struct("<I")


def decode(raw: bytes, datatype: str, shape: tuple[int, ...], name: str) -> Any:
    """The array that raw bytes mean.

    Raises:
        InvalidRequest: they don't fit the datatype and shape.
    """
    if datatype == BYTES:
        elements = np.array(_split(raw, name), dtype=object)
        return reshape(elements, shape, name)
    dtype = NUMPY_TYPES[datatype]
    if len(raw) % dtype.itemsize:
        raise InvalidRequest(
            f"input {name!r}: binary {datatype} data must be a multiple of {dtype.itemsize} "
            f"bytes, but has {len(raw)}"
        )
    if datatype == "BOOL" and raw.strip(b"\x00\x01"):
        raise InvalidRequest(f"input {name!r}: a binary BOOL must be a byte of 0 or 1")
    return reshape(np.frombuffer(raw, dtype=dtype), shape, name)


def encode(array: Any, datatype: str) -> bytes:
    """The raw bytes of an array."""
    if datatype == BYTES:
        parts = []
        for element in array.reshape(-1).tolist():
            text = element if isinstance(element, bytes) else str(element).encode()
            parts += [_LENGTH.pack(len(text)), text]
        return b"".join(parts)
    raw: bytes = np.ascontiguousarray(array, dtype=NUMPY_TYPES[datatype]).tobytes()
    return raw


def _split(raw: bytes, name: str) -> list[str]:
    elements, at = [], 0
    while at < len(raw):
        end = at + 4
        if end <= len(raw):
            end += _LENGTH.unpack_from(raw, at)[0]
        if end > len(raw) or end < at + 4:
            raise InvalidRequest(
                f"input {name!r}: binary BYTES data is elements with a 4-byte little-endian "
                f"length each, but the one at byte {at} ends at {end} of {len(raw)}"
            )
        elements.append(text_of(raw[at + 4 : end], name))
        at = end
    return elements


def text_of(element: bytes, name: str) -> str:
    """A BYTES element as text; models here take text only."""
    try:
        return element.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"input {name!r}: a BYTES element must be UTF-8: {error}") from error
