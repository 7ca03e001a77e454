"""Secret: configuration that is encrypted at rest."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from bessemer.kinds import columns, rules
from bessemer.kinds.configmap import LIMIT, decoded_bytes
from bessemer.kinds.kind import Cause, Column, Kind, Object

_TOKEN = "kubernetes.io/service-account-token"
# What a type promises its readers.
_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}


def _default(obj: Object) -> None:
    obj.setdefault("type", "Opaque")
    if plain := obj.pop("stringData", None):
        data = obj.setdefault("data", {})
        for key, value in plain.items():
            data[key] = base64.b64encode(value.encode()).decode()


def _validate(new: Object, old: Object | None) -> list[Cause]:
    causes: list[Cause] = []
    if old is None and new["type"] == _TOKEN:
        text = "not supported by this cluster: nobody fills it in; use kubectl create token"
        causes.append(rules.forbidden("type", text))
    data = new.get("data") or {}
    causes += rules.config_keys("data", data)
    size = sum(map(decoded_bytes, data.values()))
    if size > LIMIT:
        causes.append(rules.too_long("data", LIMIT))
    for key in _REQUIRED.get(new["type"], ()):
        if key not in data:
            causes.append(rules.required(f"data[{key}]"))
    return causes


SECRET = Kind(
    "",
    "v1",
    "Secret",
    "secrets",
    singular="secret",
    schema="core.v1.Secret",
    default=_default,
    validate=_validate,
    fields={"type": "type"},
    columns=(
        columns.NAME,
        Column("Type", columns.path("type")),
        Column("Data", columns.count("data"), type="integer"),
        columns.AGE,
    ),
)
