"""Reading Kubernetes' protobuf: the one form that kubectl's ``create`` and ``auth`` write in.

We read it and answer in JSON, which the same clients take. Field numbers are in
``protobuf.json``, derived by ``scripts/derive_protobuf.py``.

Source: k8s.io/apimachinery pkg/runtime/serializer/protobuf.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from bessemer.base.clock import format_micro_time, format_time
from bessemer.kinds import schemas
from bessemer.kinds.kind import Object
from bessemer.kube.errors import BadRequest

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
# What bytes of another shape than the table's lead to, anywhere below.
_MISREAD = (
    ValueError, TypeError, LookupError, AttributeError, ArithmeticError, OSError, RecursionError,
    struct.error,
)  # fmt: skip

# Zero says nothing where Go has a plain number, yet something where it has a pointer: these.
_MEANT_ZEROS = frozenset(
    {"replicas", "parallelism", "completions", "backoffLimit", "activeDeadlineSeconds",
     "terminationGracePeriodSeconds", "ttlSecondsAfterFinished", "revisionHistoryLimit",
     "gracePeriodSeconds", "runAsUser", "runAsGroup", "fsGroup", "defaultMode", "mode"}
)  # fmt: skip
_MEANT_EMPTY = frozenset({"storageClassName", "apiGroup", "apiGroups"})


class _Field(NamedTuple):
    name: str
    type: str
    shape: str  # "", "list", "map"


@cache
def _table() -> Mapping[str, Mapping[int, _Field]]:
    text = Path(__file__).with_name("protobuf.json").read_text(encoding="utf-8")
    return {
        name: {int(number): _Field(*entry) for number, entry in fields.items()}
        for name, fields in json.loads(text).items()
    }


def decode(body: bytes) -> Object:
    """The object in the body. Raises BadRequest."""
    if not body.startswith(_MAGIC):
        raise BadRequest(
            "provided data does not appear to be a protobuf message, expected prefix k8s"
        )
    try:
        envelope = dict(_fields(body[len(_MAGIC) :]))
        head = {number: value.decode() for number, value in _fields(envelope.get(1, b""))}
        api_version, kind = head.get(1, ""), head.get(2, "")
        found = _message(_type_name(api_version, kind), envelope.get(2, b""))
    except _MISREAD as error:
        raise BadRequest(f"the protobuf body can't be read: {error}") from error
    return {"apiVersion": api_version, "kind": kind, **found}


def _type_name(api_version: str, kind: str) -> str:
    group, _, version = api_version.rpartition("/")
    name = f"{group.partition('.')[0] or 'core'}.{version}.{kind}"
    if kind == "DeleteOptions":
        name = "meta.v1.DeleteOptions"
    if name not in _table():
        raise BadRequest(f"no protobuf form of {kind} in {api_version} is known here; send JSON")
    return name


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        value: Any
        match tag & 7:
            case 0:
                value, position = _varint(data, position)
            case 1:
                value, position = data[position : position + 8], position + 8
            case 2:
                size, position = _varint(data, position)
                value, position = data[position : position + size], position + size
            case 5:
                value, position = data[position : position + 4], position + 4
            case other:
                raise ValueError(f"wire type {other}")
        if position > len(data):
            raise ValueError("it ends too early")
        yield tag >> 3, value


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position
        if shift > 63:
            raise ValueError("a number is too long")


def _message(type_name: str, data: bytes) -> Object:
    known = _table()[type_name]
    described = schemas.fields(type_name)
    result: Object = {}
    for number, raw in _fields(data):
        field = known.get(number)
        if field is None:
            continue
        if field.shape == "map":
            entry = dict(_fields(raw))
            value = _value(field.type, entry.get(2, _ZEROS.get(field.type, b"")))
            result.setdefault(field.name, {})[entry.get(1, b"").decode()] = value
            continue
        value = _value(field.type, raw)
        if field.shape == "list":
            result.setdefault(field.name, []).append(value)
        elif described and field.name not in described and isinstance(value, dict):
            result |= value  # Go embeds it: in JSON its fields stand among ours
        elif _says_something(field.name, value):
            result[field.name] = value
    return result


_ZEROS: Mapping[str, Any] = {"int32": 0, "int64": 0, "bool": 0}


def _says_something(name: str, value: Any) -> bool:
    if value is None:
        return False
    if value == "":
        return name in _MEANT_EMPTY
    return value is False or value != 0 or name in _MEANT_ZEROS


def _value(type_name: str, raw: Any) -> Any:
    read = _READERS.get(type_name)
    return read(raw) if read else _message(type_name, raw)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _quantity(data: bytes) -> str:
    return next((value.decode() for number, value in _fields(data) if number == 1), "0")


def _int_or_string(data: bytes) -> int | str:
    found = dict(_fields(data))
    return str(found.get(3, b"").decode()) if found.get(1, 0) == 1 else _signed(found.get(2, 0))


def _time(data: bytes) -> str | None:
    seconds = _signed(dict(_fields(data)).get(1, 0))
    return format_time(datetime.fromtimestamp(seconds, UTC)) if data and seconds > 0 else None


def _micro_time(data: bytes) -> str | None:
    found = dict(_fields(data))
    seconds, nanos = _signed(found.get(1, 0)), _signed(found.get(2, 0))
    moment = datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=nanos // 1000)
    return format_micro_time(moment) if data and seconds > 0 else None


def _raw_json(data: bytes) -> Any:
    raw = dict(_fields(data)).get(1, b"")
    return orjson.loads(raw) if raw else None


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "string": lambda raw: raw.decode(),
    "bytes": lambda raw: base64.b64encode(raw).decode(),
    "int32": _signed,
    "int64": _signed,
    "bool": bool,
    "double": lambda raw: struct.unpack("<d", raw)[0],
    "resource.Quantity": _quantity,
    "intstr.IntOrString": _int_or_string,
    "meta.v1.Time": _time,
    "meta.v1.MicroTime": _micro_time,
    "meta.v1.FieldsV1": _raw_json,
    "runtime.RawExtension": _raw_json,
}
