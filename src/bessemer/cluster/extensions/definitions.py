"""What a CustomResourceDefinition must be, and the kinds that come of one. Pure.

Source: k8s.io/apiextensions-apiserver pkg/apis/apiextensions/{v1/defaults.go,validation},
pkg/apiserver/schema/validation.go (structural), pkg/registry/customresource.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

import re2

from bessemer.cluster.extensions import jsonpath
from bessemer.cluster.extensions.celrules import Rule
from bessemer.cluster.extensions.schema import ABSENT, MOST_CAUSES, MOST_DEPTH, Compiler, Schema
from bessemer.kinds import meta, rules
from bessemer.kinds.customresourcedefinition import CUSTOM_RESOURCE_DEFINITION
from bessemer.kinds.kind import Cause, Column, Kind, Object, Scale

#: Of a group that Kubernetes keeps for itself a definition needs its approval.
APPROVED = "api-approved.kubernetes.io"
_PROTECTED = re.compile(r"(^|\.)(k8s\.io|kubernetes\.io)$")
_COLUMN_TYPES = ("integer", "number", "string", "boolean", "date")
_SCOPES = ("Cluster", "Namespaced")
_SCHEMA_TYPES = ("array", "boolean", "integer", "number", "object", "string")
# Broken rules beside which CEL is not asked.
_BLOCKING = (
    "FieldValueRequired",
    "FieldValueTypeInvalid",
    "FieldValueTooLong",
    "FieldValueTooMany",
)
_NOT_CHECKED = (
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)
_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_FREE = {"type": "object", _PRESERVE: True}
# What a structural schema must not have at all.
_FORBIDDEN = ("$ref", "definitions", "dependencies", "deprecated", "discriminator", "id",
              "patternProperties", "readOnly", "writeOnly", "xml")  # fmt: skip
_JUNCTORS = ("allOf", "anyOf", "oneOf")
# Of what type the rules are.
_LEAVES: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("maximum", "minimum", "multipleOf"), (int, float)),
    **dict.fromkeys(("maxLength", "minLength", "maxItems", "minItems", "maxProperties",
                     "minProperties"), (int,)),
    **dict.fromkeys(("pattern", "format"), (str,)),
    **dict.fromkeys(("enum", "required", *_JUNCTORS), (list,)),
    **dict.fromkeys(("properties",), (dict,)),
}  # fmt: skip
# What within allOf, anyOf, oneOf and not must not be said.
_NOT_IN_JUNCTORS = ("type", "default", "additionalProperties", "nullable", _PRESERVE,
                    "x-kubernetes-embedded-resource", "description", "title")  # fmt: skip


def fill(definition: Object) -> None:
    """Upstream's defaults, in place."""
    spec = definition.get("spec")
    if type(spec) is not dict:
        return
    names = spec.get("names")
    if type(names) is dict and type(names.get("kind")) is str:
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", names["kind"] + "List")
    spec.setdefault("conversion", {"strategy": "None"})


def find_causes(definition: Object, old: Object | None) -> list[Cause]:
    """The broken rules of a definition; it may be of any form."""
    try:
        return list(islice(_find_causes(definition, old), MOST_CAUSES))
    except (TypeError, AttributeError, KeyError) as error:
        return [rules.bad("spec", "object", f"a value is of another type than its field: {error}")]


def _find_causes(definition: Object, old: Object | None) -> Iterator[Cause]:
    spec = definition.get("spec") or {}
    names = spec.get("names") or {}
    group, plural = spec.get("group") or "", names.get("plural") or ""
    name = meta.name(definition)
    if old is None and name != f"{plural}.{group}":
        yield rules.bad("metadata.name", name, 'must be spec.names.plural+"."+spec.group')
    if not group:
        yield rules.required("spec.group")
    elif broken := rules.subdomain("spec.group", group):
        yield from broken
    elif "." not in group:
        yield rules.bad("spec.group", group, "should be a domain with at least one dot")
    elif _PROTECTED.search(group) and not meta.annotations(definition).get(APPROVED):
        yield rules.required(
            f"metadata.annotations[{APPROVED}]",
            'protected groups must have approval annotation "api-approved.kubernetes.io", see '
            "https://github.com/kubernetes/enhancements/pull/1111",
        )
    yield from rules.one_of("spec.scope", spec.get("scope"), _SCOPES)
    yield from _of_names(names)
    yield from _of_conversion(spec.get("conversion") or {})
    yield from _of_versions(spec)
    if old is not None:
        yield from _of_change(spec, old["spec"], definition)


def _of_names(names: Object) -> Iterator[Cause]:
    for key in ("plural", "singular", "kind", "listKind"):
        if not names.get(key):
            yield rules.required(f"spec.names.{key}")
        else:
            yield from rules.label_1035(f"spec.names.{key}", names[key].lower())
    for key in ("shortNames", "categories"):
        for number, each in enumerate(names.get(key) or ()):
            yield from rules.label_1035(f"spec.names.{key}[{number}]", each)
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        yield rules.bad(
            "spec.names.listKind", names["kind"], "kind and listKind may not be the same"
        )


def _of_conversion(conversion: Object) -> Iterator[Cause]:
    strategy = conversion.get("strategy")
    if strategy == "Webhook":
        yield rules.forbidden(
            "spec.conversion.strategy",
            "webhooks are not called by this cluster; use None, which changes apiVersion alone",
        )
    elif strategy != "None":
        yield rules.unsupported("spec.conversion.strategy", strategy, ["None", "Webhook"])


def _of_versions(spec: Object) -> Iterator[Cause]:
    versions = spec.get("versions") or []
    if not versions:
        yield rules.required("spec.versions")
    seen = set()
    for number, version in enumerate(versions):
        where = f"spec.versions[{number}]"
        name = version.get("name") or ""
        if name in seen:
            yield rules.bad("spec.versions", name, "must contain unique version names")
        seen.add(name)
        yield from rules.label_1035(f"{where}.name", name)
        yield from _of_version(version, where)
    if versions and sum(version.get("storage") is True for version in versions) != 1:
        yield rules.bad(
            "spec.versions", "array", "must have exactly one version marked as storage version"
        )


def _of_version(version: Object, where: str) -> Iterator[Cause]:
    document = (version.get("schema") or {}).get("openAPIV3Schema")
    if type(document) is not dict:
        yield rules.required(f"{where}.schema.openAPIV3Schema", "schemas are required")
    else:
        yield from _of_document(document, f"{where}.schema.openAPIV3Schema")
    for number, column in enumerate(version.get("additionalPrinterColumns") or ()):
        yield from _of_column(column, f"{where}.additionalPrinterColumns[{number}]")
    scale = (version.get("subresources") or {}).get("scale")
    if scale is not None:
        for key in ("specReplicasPath", "statusReplicasPath"):
            yield from _of_path(scale.get(key), f"{where}.subresources.scale.{key}")
    for number, each in enumerate(version.get("selectableFields") or ()):
        yield from _of_path(each.get("jsonPath"), f"{where}.selectableFields[{number}].jsonPath")


def _of_document(document: Object, where: str) -> Iterator[Cause]:
    found = list(islice(_of_schema(document, where), MOST_CAUSES))
    yield from found
    if found:  # what can't be compiled is among them
        return
    try:
        compiled = Compiler().compile(document)
    except (ValueError, RecursionError) as error:
        yield rules.bad(where, "object", str(error))
    else:
        yield from _of_defaults(document, compiled, where)


def _of_column(column: Object, where: str) -> Iterator[Cause]:
    if not column.get("name"):
        yield rules.required(f"{where}.name")
    yield from rules.one_of(f"{where}.type", column.get("type"), _COLUMN_TYPES)
    yield from _of_path(column.get("jsonPath"), f"{where}.jsonPath")


def _of_path(path: Any, where: str) -> Iterator[Cause]:
    if not path:
        yield rules.required(where)
        return
    try:
        jsonpath.compile(path)
    except ValueError as error:
        yield rules.bad(where, path, str(error))


def _of_schema(document: Any, where: str, depth: int = 0) -> Iterator[Cause]:
    """What makes a schema structural."""
    if type(document) is not dict or depth > MOST_DEPTH:  # the compiler tells of the depth
        return
    for key in _FORBIDDEN:
        if key in document:
            yield rules.forbidden(f"{where}.{key}", f"{key} is not supported")
    yield from _of_type(document, where, is_root=not depth)
    yield from _of_list_type(document, where)
    for junctor in _JUNCTORS:
        for number, each in enumerate(document.get(junctor) or ()):
            yield from _of_junctor(each, f"{where}.{junctor}[{number}]", document)
    yield from _of_junctor(document.get("not"), f"{where}.not", document)
    for name, inner in (document.get("properties") or {}).items():
        yield from _of_schema(inner, f"{where}.properties[{name}]", depth + 1)
    for key in ("additionalProperties", "items"):
        yield from _of_schema(document.get(key), f"{where}.{key}", depth + 1)


def _of_type(document: Object, where: str, *, is_root: bool) -> Iterator[Cause]:
    type_ = document.get("type")
    is_free = document.get("x-kubernetes-int-or-string") is True or document.get(_PRESERVE) is True
    if is_root and type_ != "object":
        yield rules.bad(f"{where}.type", type_ or "", "must be object at the root")
    elif type_ is None and not is_free:
        yield rules.required(f"{where}.type", "must not be empty for specified object fields")
    elif type_ is not None and type_ not in _SCHEMA_TYPES:
        yield rules.unsupported(f"{where}.type", type_, _SCHEMA_TYPES)
    for key, types in _LEAVES.items():
        value = document.get(key)
        if value is not None and type(value) not in types:
            yield rules.bad(f"{where}.{key}", value, "is of another type than this rule's")
    if type_ == "array" and type(document.get("items")) is not dict:
        yield rules.required(f"{where}.items", "must be specified")
    if document.get("properties") and document.get("additionalProperties"):
        yield rules.forbidden(
            f"{where}.additionalProperties",
            "additionalProperties and properties are mutual exclusive",
        )
    yield from _of_texts(document, where)
    if document.get("uniqueItems") is True:
        yield rules.forbidden(
            f"{where}.uniqueItems",
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        )


def _of_texts(document: Object, where: str) -> Iterator[Cause]:
    """Patterns and rules that can't be compiled."""
    if type(pattern := document.get("pattern")) is str:
        try:
            re2.compile(pattern)
        except re2.error as error:
            words = f"must be a valid regular expression, but isn't: {_plain(error)}"
            yield rules.bad(f"{where}.pattern", pattern, words)
    for number, described in enumerate(document.get("x-kubernetes-validations") or ()):
        try:
            Rule.of(described)
        except ValueError as error:
            place = f"{where}.x-kubernetes-validations[{number}].rule"
            yield rules.bad(place, described, f"compilation failed: {error}")


def _plain(error: Exception) -> str:
    text = error.args[0] if error.args else ""
    return text.decode(errors="replace") if isinstance(text, bytes) else str(text)


def _of_list_type(document: Object, where: str) -> Iterator[Cause]:
    type_ = document.get("x-kubernetes-list-type")
    if type_ is None:
        return
    yield from rules.one_of(f"{where}.x-kubernetes-list-type", type_, ("atomic", "set", "map"))
    keys = document.get("x-kubernetes-list-map-keys") or ()
    if type_ == "map":
        if not keys:
            yield rules.required(
                f"{where}.x-kubernetes-list-map-keys",
                "must not be empty if x-kubernetes-list-type is map",
            )
        items = document.get("items") or {}
        for key in keys:
            inner = (items.get("properties") or {}).get(key)
            if inner is None:
                yield rules.bad(
                    f"{where}.x-kubernetes-list-map-keys", key, "must be a property of the items"
                )
            elif key not in (items.get("required") or ()) and "default" not in inner:
                yield rules.required(
                    f"{where}.items.properties[{key}].default",
                    "this property is in x-kubernetes-list-map-keys, so it must have a default or "
                    "be a required property",
                )


def _of_junctor(document: Any, where: str, outer: Object) -> Iterator[Cause]:
    if type(document) is not dict:
        return
    for key in _NOT_IN_JUNCTORS:
        if key in document and not (key == "type" and outer.get("x-kubernetes-int-or-string")):
            yield rules.forbidden(f"{where}.{key}", "must be empty to be structural")
    for name, inner in (document.get("properties") or {}).items():
        known = (outer.get("properties") or {}).get(name)
        if known is None and not outer.get(_PRESERVE):
            yield rules.required(
                f"{where}.properties[{name}]", "because it is defined in a junctor only"
            )
        yield from _of_junctor(inner, f"{where}.properties[{name}]", known or {_PRESERVE: True})


def _of_defaults(document: Object, compiled: Schema, where: str) -> Iterator[Cause]:
    for name, inner in compiled.properties.items():
        place = f"{where}.properties[{name}]"
        described = (document.get("properties") or {}).get(name) or {}
        if inner.default is not ABSENT:
            value = meta.copy(inner.default)
            for pruned in inner.prune(value):
                yield rules.bad(
                    f"{place}.default", described["default"], f"must be pruned: {pruned}"
                )
            inner.fill(value)
            yield from inner.find_causes(value, f"{place}.default")
        yield from _of_defaults(described, inner, place)
    if compiled.items is not None:
        yield from _of_defaults(document.get("items") or {}, compiled.items, f"{where}.items")


def _of_change(spec: Object, before: Object, definition: Object) -> Iterator[Cause]:
    for path in ("group", "scope", "names.plural", "names.kind"):
        value, was = meta.dig(spec, path), meta.dig(before, path)
        is_established = (meta.condition(definition, "Established") or {}).get("status") == "True"
        if value != was and (path in ("group", "names.plural") or is_established):
            yield rules.immutable(f"spec.{path}", value)
    left = {version.get("name") for version in spec.get("versions") or ()}
    for number, name in enumerate(meta.dig(definition, "status.storedVersions") or ()):
        if name not in left:
            yield rules.bad(
                f"status.storedVersions[{number}]",
                name,
                "missing from spec.versions; objects may be stored in it",
            )


# ---- kinds


def make_kinds(definition: Object) -> list[Kind]:
    """The kinds of a definition's served versions, the one that is stored first.

    The definition has passed ``find_causes``.
    """
    spec = definition["spec"]
    ordered = sorted(spec["versions"], key=lambda version: version.get("storage") is not True)
    stored = f"{spec['group']}/{ordered[0]['name']}"
    return [_make(spec, version, stored) for version in ordered if version.get("served")]


def _make(spec: Object, version: Object, stored: str) -> Kind:
    names = spec["names"]
    document = version["schema"]["openAPIV3Schema"]
    schema = Compiler().compile({**document, "x-kubernetes-embedded-resource": True})
    subresources = version.get("subresources") or {}
    return Kind(
        spec["group"],
        version["name"],
        names["kind"],
        names["plural"],
        namespaced=spec["scope"] == "Namespaced",
        singular=names.get("singular") or names["kind"].lower(),
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=frozenset(subresources.keys() & {"status", "scale"}),
        columns=tuple(_make_columns(version)),
        fields={
            each["jsonPath"].lstrip("."): each["jsonPath"].lstrip(".")
            for each in version.get("selectableFields") or ()
        },
        default=schema.fill,
        prune=lambda obj: list(_prune(schema, obj)),
        validate=lambda new, old: list(islice(_validate(schema, new, old), MOST_CAUSES)),
        custom=True,
        openapi=document,
        stored=stored,
        scale=_make_scale(subresources.get("scale")),
        list_kind=names.get("listKind") or "",
    )


def _prune(schema: Schema, obj: Object) -> Iterator[str]:
    head = {key: obj.pop(key) for key in ("apiVersion", "kind", "metadata") if key in obj}
    yield from schema.prune(obj)
    rest = dict(obj)
    obj.clear()
    obj.update(head | rest)


def _validate(schema: Schema, new: Object, old: Object | None) -> Iterator[Cause]:
    own = {
        key: value for key, value in new.items() if key not in ("apiVersion", "kind", "metadata")
    }
    found = list(islice(schema.find_causes(own, ""), MOST_CAUSES))
    yield from found
    if not schema.has_rules:
        return
    if any(cause.reason in _BLOCKING for cause in found):  # rules are for values of a right form
        yield Cause("<nil>", _NOT_CHECKED)
    else:
        yield from schema.find_broken_rules(new, ABSENT if old is None else old, "")


def _make_columns(version: Object) -> Iterable[Column]:
    for described in version.get("additionalPrinterColumns") or ():
        yield Column(
            described["name"],
            jsonpath.compile(described["jsonPath"]),
            described["type"],
            int(described.get("priority") or 0),
            str(described.get("description") or ""),
        )


def _make_scale(described: Mapping[str, str] | None) -> Scale | None:
    if not described:
        return None
    return Scale(
        described["specReplicasPath"].lstrip("."),
        described["statusReplicasPath"].lstrip("."),
        (described.get("labelSelectorPath") or "").lstrip("."),
    )


# ---- names


def find_conflict(definition: Object, others: Iterable[Object]) -> str:
    """Which of its names another definition of its group has; "" if none."""
    names = definition["spec"]["names"]
    own = {names["plural"], names["singular"], *(names.get("shortNames") or ())}
    for other in others:
        spec = other["spec"]
        if other is definition or meta.uid(other) == meta.uid(definition):
            continue
        if spec["group"] != definition["spec"]["group"]:
            continue
        taken = spec["names"]
        theirs = {taken["plural"], taken["singular"], *(taken.get("shortNames") or ())}
        if shared := sorted(own & theirs):
            return f'"{shared[0]}" is already in use'
        if names["kind"] == taken["kind"] or names["listKind"] == taken["listKind"]:
            return f'"{names["kind"]}" is already in use'
    return ""


#: The kind of definitions, with the rules of this cluster.
DEFINITION = replace(CUSTOM_RESOURCE_DEFINITION, default=fill, validate=find_causes)
