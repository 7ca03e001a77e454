"""/openapi/v3: what kubectl asks before it writes (is fieldValidation known?) and explains.

Made from the schema table: types and lists' merge keys, no prose.
Source: k8s.io/kube-openapi, kubectl pkg/util/openapi.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import orjson

from bessemer.cluster.apiserver import discovery
from bessemer.kinds import schemas
from bessemer.kinds.kind import Kind, Object

_WORDS: dict[str, Object] = {
    "time": {"type": "string", "format": "date-time"},
    "bytes": {"type": "string", "format": "byte"},
    "quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "int-or-string": {"oneOf": [{"type": "integer"}, {"type": "string"}],
                      "format": "int-or-string"},
    "any": {"type": "object"},
}  # fmt: skip
_WRITE_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation", "pretty")


def index(kinds: Iterable[Kind]) -> Object:
    """/openapi/v3: one document a group and version."""
    paths: Object = {}
    kinds = list(kinds)
    for group, found in discovery.versions(kinds).items():
        for version, members in found.items():
            if not members:
                continue
            place = f"apis/{group}/{version}" if group else f"api/{version}"
            text = orjson.dumps([(str(kind), kind.openapi) for kind in members])
            digest = hashlib.sha256(text).hexdigest()[:32].upper()
            paths[place] = {"serverRelativeURL": f"/openapi/v3/{place}?hash={digest}"}
    return {"paths": paths}


def document(kinds: Iterable[Kind], group: str, version: str) -> Object | None:
    """/openapi/v3/apis/<group>/<version>."""
    members = discovery.versions(kinds).get(group, {}).get(version)
    if not members:
        return None
    components: Object = {}
    paths: Object = {}
    for kind in members:
        name = kind.schema or f"{kind.group}.{kind.version}.{kind.kind}"
        if kind.openapi is not None:
            _collect(_METADATA, components)
            components[name] = _learned(kind.openapi)
        elif kind.schema is None:
            components[name] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        else:
            _collect(name, components)
        components[name] = {
            **components[name],
            "x-kubernetes-group-version-kind": [_identity(kind)],
        }
        paths |= _paths(kind, name)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "bessemer"},
        "paths": paths,
        "components": {"schemas": components},
    }


_METADATA = "meta.v1.ObjectMeta"


def _learned(document: Object) -> Object:
    """A definition's schema with what every object has. Source: controller/openapi/builder."""
    head = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"$ref": f"#/components/schemas/{_METADATA}"},
    }
    return {**document, "properties": {**(document.get("properties") or {}), **head}}


def _identity(kind: Kind) -> Object:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _paths(kind: Kind, name: str) -> Object:
    base = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    if kind.namespaced:
        base += "/namespaces/{namespace}"
    base += f"/{kind.plural}"
    parameters = [
        {"name": parameter, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
        for parameter in _WRITE_PARAMETERS
    ]
    answer = {
        "200": {
            "description": "OK",
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}},
        }
    }

    def operation(action: str) -> Object:
        return {
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": _identity(kind),
            "parameters": parameters,
            "responses": answer,
        }

    return {
        base: {"post": operation("post")},
        base + "/{name}": {"put": operation("put"), "patch": operation("patch")},
    }


def _collect(name: str, components: Object) -> None:
    if name in components:
        return
    properties: Object = {}
    components[name] = {"type": "object", "properties": properties}
    for field, described in schemas.fields(name).items():
        properties[field] = _property(described, components)


def _property(described: Any, components: Object) -> Object:
    if isinstance(described, str):
        if described.startswith("@"):
            _collect(described[1:], components)
            return {"$ref": f"#/components/schemas/{described[1:]}"}
        return _WORDS.get(described, {"type": described})
    if "map" in described:
        inner = _property(described["map"], components)
        return {"type": "object", "additionalProperties": inner}
    if "type" in described:
        return _property(described["type"], components)
    found: Object = {"type": "array", "items": _property(described["list"], components)}
    if strategy := described.get("strategy"):
        found["x-kubernetes-patch-strategy"] = strategy
    if key := described.get("merge"):
        found["x-kubernetes-patch-merge-key"] = key
    if keys := described.get("keys"):
        found |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys}
    return found
