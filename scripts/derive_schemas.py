"""Derive ``src/bessemer/kinds/schemas.json`` from PyPI kubernetes-validate.

Run: ``uv run --group schemas python scripts/derive_schemas.py``. The result holds types, required
fields, how lists and maps merge and are owned; no prose. To serve another built-in kind add its
name to ``ROOTS``.
"""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

OUTPUT = Path(__file__).parent.parent / "src/bessemer/kinds/schemas.json"
RELEASE = "v1.37.0-local"

ROOTS = (
    "core.v1.Namespace", "core.v1.Node", "core.v1.Event", "core.v1.Pod", "core.v1.ConfigMap",
    "core.v1.Secret", "core.v1.ServiceAccount", "core.v1.PersistentVolumeClaim",
    "core.v1.Service", "core.v1.Binding", "discovery.v1.EndpointSlice", "coordination.v1.Lease",
    "batch.v1.Job", "apps.v1.Deployment", "apps.v1.ReplicaSet", "rbac.v1.Role",
    "rbac.v1.ClusterRole", "rbac.v1.RoleBinding", "rbac.v1.ClusterRoleBinding",
    "autoscaling.v1.Scale", "authentication.v1.TokenRequest", "authentication.v1.TokenReview",
    "authentication.v1.SelfSubjectReview", "authorization.v1.SubjectAccessReview",
    "authorization.v1.SelfSubjectAccessReview", "authorization.v1.SelfSubjectRulesReview",
    "authorization.v1.LocalSubjectAccessReview", "meta.v1.DeleteOptions",
)  # fmt: skip

# Types whose JSON is not what their schema says, and those that we never look into.
SPECIAL = {
    "resource.Quantity": "quantity",
    "intstr.IntOrString": "int-or-string",
    "meta.v1.Time": "time",
    "meta.v1.MicroTime": "time",
    "meta.v1.FieldsV1": "any",
    "runtime.RawExtension": "any",
}
# Required by the schema, yet absent from what clients send and upstream takes.
OPTIONAL = {"discovery.v1.EndpointSlice": {"endpoints"}}
# What a key of a list's elements is where an element doesn't say. Source: k8s.io/api core/v1, the
# defaults of ContainerPort and ServicePort, which the package's definitions leave out.
KEY_DEFAULTS = {
    "core.v1.ContainerPort": {"protocol": "TCP"},
    "core.v1.ServicePort": {"protocol": "TCP"},
}
FORMATS = {"byte": "bytes", "date-time": "time"}
PRIMITIVES = {"string", "integer", "number", "boolean"}


def short(reference: str) -> str:
    """``#/$defs/io.k8s.api.core.v1.Pod`` -> ``core.v1.Pod``."""
    name = reference.removeprefix("#/$defs/")
    for prefix in ("io.k8s.api.", "io.k8s.apimachinery.pkg."):
        name = name.removeprefix(prefix)
    for prefix in ("apis.", "api.", "util."):
        name = name.removeprefix(prefix)
    return name


def plain_type(schema: dict[str, Any]) -> str:
    """The one type that is not null."""
    types = schema.get("type", "any")
    if isinstance(types, str):
        return types
    return str(next(name for name in types if name != "null"))


def describe(schema: dict[str, Any]) -> Any:
    """A field's type: a word, ``@Type``, ``{"list": …}`` or ``{"map": …}``."""
    strategy = schema.get("x-kubernetes-patch-strategy", "")
    if "$ref" in schema:
        name = short(schema["$ref"])
        reference = SPECIAL.get(name) or f"@{name}"
        if "x-kubernetes-map-type" in schema:
            raise SystemExit(f"a reference to {name} has a map type of its own: describe it")
        return {"type": reference, "strategy": strategy} if strategy else reference
    kind = plain_type(schema)
    if kind == "array":
        entry: dict[str, Any] = {"list": describe(schema["items"])}
        if strategy:
            entry["strategy"] = strategy
        if key := schema.get("x-kubernetes-patch-merge-key"):
            entry["merge"] = key
        if keys := schema.get("x-kubernetes-list-map-keys"):
            entry["keys"] = keys
        list_type = schema.get("x-kubernetes-list-type")
        if list_type == "set" or (list_type == "atomic" and "merge" in strategy):
            entry[list_type] = True
        return entry
    if kind == "object" and "additionalProperties" in schema:
        found = {"map": describe(schema["additionalProperties"])}
        return found | {"atomic": True} if is_atomic(schema) else found
    if kind in PRIMITIVES:
        return FORMATS.get(schema.get("format", ""), kind)
    return "any"


def is_atomic(schema: dict[str, Any]) -> bool:
    """Whether an object is owned as a whole, not field by field."""
    return schema.get("x-kubernetes-map-type") == "atomic"


def references(described: Any) -> set[str]:
    """The types that a described field leads to."""
    if isinstance(described, str):
        return {described[1:]} if described.startswith("@") else set()
    inner = (described.get(word) for word in ("list", "map", "type"))
    return set().union(*(references(value) for value in inner if value is not None))


def derive(definitions: dict[str, Any]) -> dict[str, Any]:
    """All types that the roots reach."""
    by_name = {short(name): schema for name, schema in definitions.items()}
    table: dict[str, Any] = {}
    waiting = list(ROOTS)
    while waiting:
        name = waiting.pop()
        if name in table:
            continue
        schema = by_name[name]
        fields = {key: describe(value) for key, value in schema.get("properties", {}).items()}
        table[name] = {"fields": fields}
        if is_atomic(schema):
            table[name]["atomic"] = True
        if name in KEY_DEFAULTS:
            table[name]["key_defaults"] = KEY_DEFAULTS[name]
        required = [key for key in schema.get("required", ()) if key not in OPTIONAL.get(name, ())]
        if required:
            table[name]["required"] = required
        for described in fields.values():
            waiting.extend(references(described) - table.keys())
    return table


def main() -> None:
    """Read the package's definitions, write the table: one type a line, for small diffs."""
    spec = find_spec("kubernetes_validate")
    if spec is None or spec.origin is None:
        raise SystemExit("kubernetes-validate is missing: run with `uv run --group schemas`")
    folder = Path(spec.origin).parent / "kubernetes-json-schema" / RELEASE
    definitions = json.loads((folder / "_definitions.json").read_text())["$defs"]
    table = derive(definitions)
    lines = (
        f"{json.dumps(name)}:{json.dumps(table[name], separators=(',', ':'), sort_keys=True)}"
        for name in sorted(table)
    )
    OUTPUT.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{OUTPUT.name}: {len(table)} types, {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
