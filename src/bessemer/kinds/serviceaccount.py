"""ServiceAccount: the identity of pods."""

from __future__ import annotations

from bessemer.kinds import columns
from bessemer.kinds.kind import Column, Kind

#: What the names of volumes with an account's token begin with.
TOKEN_VOLUME_PREFIX = "kube-api-access-"

SERVICE_ACCOUNT = Kind(
    "",
    "v1",
    "ServiceAccount",
    "serviceaccounts",
    singular="serviceaccount",
    short_names=("sa",),
    schema="core.v1.ServiceAccount",
    columns=(
        columns.NAME,
        Column("Secrets", columns.count("secrets"), type="integer"),
        columns.AGE,
    ),
)
