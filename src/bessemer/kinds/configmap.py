"""ConfigMap: configuration that pods read."""

from __future__ import annotations

from bessemer.kinds import columns, rules
from bessemer.kinds.kind import Cause, Column, Kind, Object

LIMIT = 1024 * 1024  # bytes of data, as upstream


def decoded_bytes(value: str) -> int:
    """How many bytes a valid base64 text stands for."""
    return len(value) // 4 * 3 - value.count("=")


def _validate(new: Object, _old: Object | None) -> list[Cause]:
    causes: list[Cause] = []
    size = 0
    data = new.get("data") or {}
    for part in ("data", "binaryData"):
        causes += rules.config_keys(part, new.get(part) or ())
        for key, value in (new.get(part) or {}).items():
            size += len(value.encode()) if part == "data" else decoded_bytes(value)
            if part == "binaryData" and key in data:
                text = "duplicate of key present in data"
                causes.append(rules.bad(f"binaryData[{key}]", key, text))
    if size > LIMIT:
        causes.append(rules.too_long("", LIMIT))
    return causes


CONFIG_MAP = Kind(
    "",
    "v1",
    "ConfigMap",
    "configmaps",
    singular="configmap",
    short_names=("cm",),
    schema="core.v1.ConfigMap",
    validate=_validate,
    columns=(
        columns.NAME,
        Column("Data", columns.count("data", "binaryData"), type="integer"),
        columns.AGE,
    ),
)
