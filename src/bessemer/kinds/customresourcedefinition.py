"""CustomResourceDefinition: a kind of objects that the cluster learns while it runs.

What its fields mean, and what of it is refused, is known where it is carried out.
Source: k8s.io/apiextensions-apiserver pkg/apis/apiextensions/v1.
"""

from __future__ import annotations

from bessemer.kinds import columns
from bessemer.kinds.kind import Column, Kind

GROUP = "apiextensions.k8s.io"
#: What holds a definition until none of its objects is left.
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"

CUSTOM_RESOURCE_DEFINITION = Kind(
    GROUP,
    "v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    namespaced=False,
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    subresources=frozenset({"status"}),
    columns=(
        columns.NAME,
        Column("Created At", lambda obj: obj["metadata"]["creationTimestamp"], "string"),
    ),
)
