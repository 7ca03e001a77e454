"""Which URIs importers will be given, as far as the pipeline and its arguments tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bessemer.artifacts.claim import ClaimStore
from bessemer.base.clock import SystemClock
from bessemer.pipelines import importer, spec
from bessemer.pipelines.spec.imports import find_uris
from pipelines_ir import constant, dag, given, output, pipeline, step, task

CLAIM = "/volumes/ns/pipeline-artifacts"
#: What a URI means is told by text alone: no API is asked.
STORE = ClaimStore(None, SystemClock(), Path("/volumes"))  # type: ignore[arg-type]
BY_INPUT = {
    "importer": {"artifactUri": {"runtimeParameter": "uri"}, "typeSchema": {}},
}
BY_TEXT = {"importer": {"artifactUri": {"constant": "s3://text"}, "typeSchema": {}}}
GET = step({"uri": "STRING"}, executor="by-input")


def uris(tasks: Any, inputs: Any = None, arguments: Any = None, **components: Any) -> list[str]:
    ir = pipeline(
        tasks,
        {"get": GET, "text": step(executor="by-text"), "make": step({}, {"Output": "STRING"}),
         **components},
        inputs,
        executors={"by-input": BY_INPUT, "by-text": BY_TEXT},
    )  # fmt: skip
    return sorted(uri for _, uri in find_uris(spec.load(ir), arguments or {}))


def get(source: Any) -> Any:
    return task("get", parameters={"uri": source})


def test_texts_arguments_and_literal_items_are_known() -> None:
    tasks = {
        "text": task("text"),
        "constant": get(constant("s3://constant")),
        "argument": get(given("a")),
        "made": get(output("make")),
        "make": task("make"),
        "inside": task("inner", parameters={"b": given("a")}),
        "loop": task("looped", parameterIterator={
            "itemInput": "i", "items": {"raw": '["s3://1", "s3://2"]'}}),
        "over": task("looped", parameters={"list": given("all")}, parameterIterator={
            "itemInput": "i", "items": {"inputParameter": "list"}}),
        "filled": get(constant("s3://{{$.pipeline_job_uuid}}")),
    }  # fmt: skip
    found = uris(
        tasks,
        {"a": "STRING", "all": "LIST"},
        {"a": "s3://argument", "all": ["s3://3", "s3://4"]},
        inner=dag({"get": get(given("b"))}, {"b": "STRING"}),
        looped=dag({"get": get(given("i"))}, {"i": "STRING", "list": {
            "parameterType": "LIST", "isOptional": True}}),
    )  # fmt: skip

    assert found == [
        "s3://1", "s3://2", "s3://3", "s3://4", "s3://argument", "s3://argument", "s3://constant",
        "s3://text",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        (f"{CLAIM}/x/y", f"{CLAIM}/x/y"), (f"file://{CLAIM}/x", f"{CLAIM}/x"),
        ("minio://bucket/key", f"{CLAIM}/bucket/key"),
    ],
)  # fmt: skip
def test_what_lies_in_the_claim_has_a_place(uri: str, path: str) -> None:
    assert importer.place(uri, "it", "ns", STORE) == path


@pytest.mark.parametrize(
    "uri",
    [
        "", "s3://b/k", "gs://b/k", "oci://r/i:1", "https://x/y", "hf://m", "/etc/passwd",
        "data.csv", "file://data.csv", f"{CLAIM}/../other", "minio://../x", f"{CLAIM}-more/x",
        f"minio://{'../' * 9}etc/passwd",
    ],
)  # fmt: skip
def test_what_lies_elsewhere_is_refused_by_name(uri: str) -> None:
    with pytest.raises(importer.InvalidImport, match="importer 'it' can't fetch"):
        importer.place(uri, "it", "ns", STORE)
