"""What of a CustomResourceDefinition is refused, and what kinds come of one."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from bessemer.cluster.extensions import definitions, jsonpath
from bessemer.kinds.kind import Object

SCHEMA = {
    "type": "object",
    "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
}
GOOD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "things.example.org", "uid": "1"},
    "spec": {
        "group": "example.org",
        "scope": "Namespaced",
        "names": {"plural": "things", "kind": "Thing"},
        "versions": [
            {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": SCHEMA}}
        ],
    },
}


def make(**changes: Any) -> Object:
    """A good definition with other values at dotted paths; None takes one out."""
    found = copy.deepcopy(GOOD)
    for path, value in changes.items():
        place: Any = found
        *steps, last = path.split("__")
        for step in steps:
            place = place[int(step)] if step.isdigit() else place[step]
        if value is None:
            place.pop(last)
        else:
            place[last] = value
    definitions.fill(found)
    return found


SCHEMA_AT = "spec__versions__0__schema__openAPIV3Schema"
WHERE = "spec.versions[0].schema.openAPIV3Schema"


def test_a_good_one_passes_and_is_filled_in() -> None:
    found = make()

    assert definitions.find_causes(found, None) == []
    assert found["spec"]["names"] == {
        "plural": "things", "kind": "Thing", "singular": "thing", "listKind": "ThingList",
    }  # fmt: skip
    assert found["spec"]["conversion"] == {"strategy": "None"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"metadata__name": "other.example.org"}, "metadata.name"),
        ({"spec__group": "k8s.io", "metadata__name": "things.k8s.io"},
         "metadata.annotations[api-approved.kubernetes.io]"),
        ({"spec__group": "nodots", "metadata__name": "things.nodots"}, "spec.group"),
        ({"spec__scope": "Everywhere"}, "spec.scope"),
        ({"spec__names__kind": "9lives"}, "spec.names.singular"),
        ({"spec__names__shortNames": ["UP"]}, "spec.names.shortNames[0]"),
        ({"spec__conversion": {"strategy": "Webhook"}}, "spec.conversion.strategy"),
        ({"spec__versions": []}, "spec.versions"),
        ({"spec__versions__0__storage": False}, "spec.versions"),
        ({"spec__versions__0__schema": None}, WHERE),
        ({SCHEMA_AT: {"type": "string"}}, f"{WHERE}.type"),
        ({SCHEMA_AT: {"type": "object", "properties": {"a": {}}}}, f"{WHERE}.properties[a].type"),
        ({SCHEMA_AT: {"type": "object", "properties": {"a": {"type": "array"}}}},
         f"{WHERE}.properties[a].items"),
        ({SCHEMA_AT: {"type": "object", "$ref": "#/x"}}, f"{WHERE}.$ref"),
        ({SCHEMA_AT: {"type": "object", "properties": {"a": {"type": "string"}},
                      "additionalProperties": {"type": "string"}}},
         f"{WHERE}.additionalProperties"),
        ({SCHEMA_AT: {"type": "object", "properties": {"a": {"type": "integer", "default": "x"}}}},
         f"{WHERE}.properties[a].default"),
        ({SCHEMA_AT: {"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}},
         f"{WHERE}.properties[a].pattern"),
        ({SCHEMA_AT: {"type": "object", "x-kubernetes-validations": [{"rule": "self."}]}},
         f"{WHERE}.x-kubernetes-validations[0].rule"),
        ({SCHEMA_AT: {"type": "object", "properties": {"a": {
            "type": "object", "allOf": [{"type": "object"}]}}}},
         f"{WHERE}.properties[a].allOf[0].type"),
        ({"spec__versions__0__additionalPrinterColumns": [
            {"name": "A", "type": "text", "jsonPath": ".a"}]},
         "spec.versions[0].additionalPrinterColumns[0].type"),
        ({"spec__versions__0__subresources": {"scale": {"specReplicasPath": ".spec.n"}}},
         "spec.versions[0].subresources.scale.statusReplicasPath"),
        ({SCHEMA_AT: {"type": "object", "required": 5}}, f"{WHERE}.required"),
        ({SCHEMA_AT: {"type": "object", "properties": {
            "a": {"type": "integer", "minimum": "x"}}}}, f"{WHERE}.properties[a].minimum"),
        ({"spec__names__shortNames": 5}, "spec"),
        ({"spec__versions": "text"}, "spec"),
    ],
)  # fmt: skip
def test_what_is_refused(changes: dict[str, Any], field: str) -> None:
    found = [cause.field for cause in definitions.find_causes(make(**changes), None)]

    assert found[:1] == [field]


def test_what_stays_as_it_was() -> None:
    established = {"conditions": [{"type": "Established", "status": "True"}],
                   "storedVersions": ["v1", "v0"]}  # fmt: skip
    new = {**make(spec__scope="Cluster"), "status": established}
    fields = [cause.field for cause in definitions.find_causes(new, make())]

    assert fields == ["spec.scope", "status.storedVersions[1]"]


def test_each_served_version_is_a_kind_the_stored_one_first() -> None:
    versions = [
        {**GOOD["spec"]["versions"][0], "name": name, "storage": name == "v2", "served": served}
        for name, served in (("v1", True), ("v2", True), ("v0", False))
    ]
    found = definitions.make_kinds(make(spec__versions=versions))

    assert [(kind.api_version, kind.stored) for kind in found] == [
        ("example.org/v2", "example.org/v2"), ("example.org/v1", "example.org/v2"),
    ]  # fmt: skip


def test_names_are_one_definitions_own() -> None:
    first = make()
    second = make(metadata__uid="2", spec__names={"plural": "others", "kind": "Other",
                                                  "shortNames": ["things"]})  # fmt: skip
    third = make(metadata__uid="3", spec__group="example.com")

    assert definitions.find_conflict(first, [first, third]) == ""
    assert definitions.find_conflict(second, [first]) == '"things" is already in use'


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (".spec.a", 1),
        (".spec['b.c']", 2),
        (".spec.l[1].n", "y"),
        ('.status.conditions[?(@.type=="Ready")].status', "True"),
        (".spec.l[*].n", "x"),
        (".metadata.annotations.example\\.org/x", "z"),
        (".spec.none.more", None),
    ],
)
def test_paths_of_columns(path: str, value: Any) -> None:
    obj = {
        "metadata": {"annotations": {"example.org/x": "z"}},
        "spec": {"a": 1, "b.c": 2, "l": [{"n": "x"}, {"n": "y"}]},
        "status": {"conditions": [{"type": "Other"}, {"type": "Ready", "status": "True"}]},
    }
    assert jsonpath.compile(path)(obj) == value


@pytest.mark.parametrize("path", ["", "spec", ".spec[", ".spec[?(@.a>1)]", "..a"])
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(ValueError, match=r"JSONPath|empty"):
        jsonpath.compile(path)
