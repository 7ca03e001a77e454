"""Deployment: pods that go on running, replaced a few at a time."""

from bessemer.resources.kind import Kind

DEPLOYMENT = Kind(
    "apps",
    "v1",
    "Deployment",
    "deployments",
    singular="deployment",
    short_names=("deploy",),
    subresources=frozenset({"scale", "status"}),
)
