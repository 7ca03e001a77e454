"""ServiceAccount: the identity of pods."""

from bessemer.resources.kind import Kind

SERVICE_ACCOUNT = Kind(
    "",
    "v1",
    "ServiceAccount",
    "serviceaccounts",
    singular="serviceaccount",
    short_names=("sa",),
)
