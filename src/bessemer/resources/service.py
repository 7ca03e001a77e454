"""Service: one address before many pods."""

from bessemer.resources.kind import Kind

SERVICE = Kind(
    "",
    "v1",
    "Service",
    "services",
    singular="service",
    short_names=("svc",),
    subresources=frozenset({"status"}),
)
