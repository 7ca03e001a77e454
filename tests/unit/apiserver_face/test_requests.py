"""Requests: bodies, verbs, answers, forms, documents."""

import pytest

CORE = "/api/v1/namespaces/default"
TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}


async def make(world, name="a", **extra):
    obj = {"metadata": {"name": name, "labels": {"n": name}}, "data": {"k": "v"}, **extra}
    return await world.ask("POST", f"{CORE}/configmaps", obj)


async def test_the_life_of_an_object(world):
    created = await make(world)
    path = f"{CORE}/configmaps/a"
    changed = {**created.json, "data": {"k": "w"}}

    updated = await world.ask("PUT", path, changed)
    stale = await world.ask("PUT", path, created.json | {"data": {}})
    deleted = await world.ask("DELETE", path)

    assert (created.status, updated.status, stale.status) == (201, 200, 409)
    assert updated.json["metadata"]["uid"] == created.json["metadata"]["uid"]
    assert stale.json["reason"] == "Conflict"
    assert (deleted.json["kind"], deleted.json["status"]) == ("Status", "Success")
    assert (await world.ask("GET", path)).status == 404


async def test_dry_run_stores_nothing(world):
    obj = {"metadata": {"name": "a"}}
    reply = await world.ask("POST", f"{CORE}/configmaps?dryRun=All", obj)

    assert reply.status == 201
    assert (await world.ask("GET", f"{CORE}/configmaps/a")).status == 404
    assert (await world.ask("POST", f"{CORE}/configmaps?dryRun=Some", obj)).status == 400


async def test_yaml_bodies(world):
    body = b"metadata: {name: a, annotations: {day: 2026-01-01, at: 12:30}}\ndata:\n  k: v\n"
    headers = {"content-type": "application/yaml"}

    reply = await world.ask("POST", f"{CORE}/configmaps", body, headers=headers)

    assert reply.json["data"] == {"k": "v"}
    assert reply.json["metadata"]["annotations"] == {"day": "2026-01-01", "at": "12:30"}


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"[1]", "application/json", 400),
        (b"", "application/json", 400),
        (b'{"metadata": []}', "application/json", 400),
        (b'{"kind": "Pod"}', "application/json", 400),
        (b"x", "application/msword", 415),
        (b"a: &a [x]\nb: [*a, *a]\n", "application/yaml", 400),
        (b"metadata: {name: a}\nx: " + b"[" * 60_000, "application/yaml", 400),
        (b"metadata: {name: a}\nx: " + b"[" * 300 + b"]" * 300, "application/yaml", 400),
        (b"metadata: {name: a}\ndata: {k: " + b"x" * 128 * 1024 + b"}", "application/yaml", 413),
        (
            b'{"metadata":{"name":"a"},"x":' + b"[" * 500 + b"]" * 500 + b"}",
            "application/json",
            400,
        ),
        (b"[" * 100_000, "application/json", 400),
        (b'"' + b"x" * (3 * 1024 * 1024) + b'"', "application/json", 413),
    ],
)
async def test_bodies_that_are_refused(world, body, content_type, status):
    headers = {"content-type": content_type, "content-length": str(len(body))}

    reply = await world.ask("POST", f"{CORE}/configmaps", body, headers=headers)

    assert reply.status == status, reply.body[:300]
    assert reply.json["kind"] == "Status"
    assert (await world.ask("GET", f"{CORE}/configmaps")).json["items"] == []


async def test_lists_by_label_and_page(world):
    for name in "abc":
        await make(world, name)

    one = await world.ask("GET", f"{CORE}/configmaps?labelSelector=n%3Db")
    first = (await world.ask("GET", f"{CORE}/configmaps?limit=2")).json
    token = first["metadata"]["continue"]
    rest = (await world.ask("GET", f"{CORE}/configmaps?limit=2&continue={token}")).json

    assert [item["metadata"]["name"] for item in one.json["items"]] == ["b"]
    assert first["metadata"]["remainingItemCount"] == 1
    assert [i["metadata"]["name"] for i in first["items"] + rest["items"]] == ["a", "b", "c"]
    assert (await world.ask("GET", f"{CORE}/configmaps?labelSelector=,,")).status == 400


async def test_tables(world):
    await make(world)

    many = (await world.ask("GET", f"{CORE}/configmaps", headers=TABLE)).json
    one = (await world.ask("GET", f"{CORE}/configmaps/a", headers=TABLE)).json

    assert [column["name"] for column in many["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert many["rows"][0]["cells"][:2] == ["a", 1]
    assert many["rows"][0]["cells"][2].endswith("s")
    assert many["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    assert one["rows"][0]["cells"][0] == "a"


async def test_metadata_alone(world):
    await make(world)
    accept = {"accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}

    found = (await world.ask("GET", f"{CORE}/configmaps", headers=accept)).json

    assert found["kind"] == "PartialObjectMetadataList"
    assert "data" not in found["items"][0]


async def test_delete_answers_what_upstream_answers(world):
    await make(world, finalizers=None)
    held = {"metadata": {"name": "h", "finalizers": ["x/y"]}}
    await world.ask("POST", f"{CORE}/configmaps", held)
    await world.ask("POST", f"{CORE}/serviceaccounts", {"metadata": {"name": "s"}})

    waiting = (await world.ask("DELETE", f"{CORE}/configmaps/h")).json
    account = (await world.ask("DELETE", f"{CORE}/serviceaccounts/s")).json
    wrong = {"preconditions": {"uid": "other"}}
    refused = await world.ask("DELETE", f"{CORE}/configmaps/a", wrong)
    all_ = await world.ask("DELETE", f"{CORE}/configmaps?labelSelector=n%3Da")

    assert waiting["metadata"]["deletionTimestamp"]
    assert account["kind"] == "ServiceAccount"
    assert refused.status == 409
    assert [item["metadata"]["name"] for item in all_.json["items"]] == ["a"]
    assert (await world.ask("GET", f"{CORE}/configmaps/a")).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "*",
        "/api/v2/pods",
        "/apis/x/v1/things",
        f"{CORE}/things",
        f"{CORE}/pods/a/nothing",
        "/api/v1/configmaps/a",
        "/apis/apps",
        "/apis/none",
    ],
)
async def test_paths_that_lead_nowhere(world, path):
    reply = await world.ask("GET", path)

    expected = 200 if path == "/apis/apps" else 404
    assert reply.status == expected


async def test_methods_that_a_resource_does_not_know(world):
    assert (await world.ask("POST", f"{CORE}/configmaps/a", {})).status == 405
    assert (await world.ask("PUT", f"{CORE}/configmaps", {})).status in (404, 405)
    assert (await world.ask("POST", "/version")).status == 405


async def test_discovery(world):
    plain = (await world.ask("GET", "/api/v1")).json
    accept = {"accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
    both = await world.ask("GET", "/apis", headers=accept)
    groups = {group["name"] for group in (await world.ask("GET", "/apis")).json["groups"]}

    names = {entry["name"]: entry for entry in plain["resources"]}
    assert names["pods"]["shortNames"] == ["po"]
    assert {"pods/log", "pods/status", "serviceaccounts/token"} <= names.keys()
    assert both.headers["content-type"] == [accept["accept"]]
    assert {item["metadata"]["name"] for item in both.json["items"]} == groups
    assert {"apps", "batch", "serving.kserve.io", "authorization.k8s.io"} <= groups


async def test_openapi_tells_kubectl_that_the_server_validates(world):
    index = (await world.ask("GET", "/openapi/v3")).json["paths"]
    document = (await world.ask("GET", index["apis/apps/v1"]["serverRelativeURL"])).json

    patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    spec = document["components"]["schemas"]["core.v1.PodSpec"]["properties"]
    assert "fieldValidation" in [parameter["name"] for parameter in patch["parameters"]]
    assert patch["x-kubernetes-group-version-kind"]["kind"] == "Deployment"
    assert spec["containers"]["x-kubernetes-patch-merge-key"] == "name"


async def test_metrics_count_requests(world):
    await make(world)

    text = (await world.ask("GET", "/metrics")).body.decode()

    line = 'apiserver_request_total{code="201",resource="configmaps",subresource="",verb="create"}'
    assert f"{line} 1.0" in text
