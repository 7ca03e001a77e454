"""CustomResourceDefinition: a kind of objects that the cluster learns while it runs.

What its fields mean, and what of it is refused, is known where it is carried out. Our own kinds
have definitions, too: their schemas are in ``definitions.json``, which
``scripts/derive_definitions.py`` derives; the rules that no schema can tell stay with each kind.
Source: k8s.io/apiextensions-apiserver pkg/apis/apiextensions/v1.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from bessemer.kinds import columns, meta
from bessemer.kinds.kind import Column, Kind, Object

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

_FREE: Object = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
# Of a kind whose typed models are in no package.
_UNDESCRIBED: Object = {"type": "object", "properties": {"spec": _FREE, "status": _FREE}}


@lru_cache(maxsize=1)
def _documents() -> dict[str, Object]:
    text = Path(__file__).with_name("definitions.json").read_text(encoding="utf-8")
    found: dict[str, Object] = json.loads(text)
    return found


def described(kind: Kind) -> Kind:
    """A kind of ours with the schema of its definition."""
    return replace(kind, openapi=_documents().get(kind.kind, _UNDESCRIBED))


def define(kind: Kind) -> Object:
    """The definition of a kind of ours, of which every cluster has to know."""
    version: Object = {
        "name": kind.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": described(kind).openapi},
    }
    if "status" in kind.subresources:
        version["subresources"] = {"status": {}}
    names: Object = {
        "plural": kind.plural,
        "singular": kind.singular or kind.kind.lower(),
        "kind": kind.kind,
        "listKind": f"{kind.kind}List",
    }
    if kind.short_names:
        names["shortNames"] = list(kind.short_names)
    if kind.categories:
        names["categories"] = list(kind.categories)
    definition = meta.new(
        CUSTOM_RESOURCE_DEFINITION,
        kind.resource,
        spec={
            "group": kind.group,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "names": names,
            "conversion": {"strategy": "None"},
            "versions": [version],
        },
    )
    if kind.group.endswith(".k8s.io"):
        definition["metadata"]["annotations"] = {"api-approved.kubernetes.io": _APPROVAL}
    return definition


# Where the Gateway API's kinds were approved.
_APPROVAL = "https://github.com/kubernetes-sigs/gateway-api/pull/1086"
