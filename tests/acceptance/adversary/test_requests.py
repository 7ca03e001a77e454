"""Requests that make a server build or walk much more than was sent: each is answered, others too.

On a Bessemer of their own, whose memory is looked at; what one request may take in time is what
``harness`` waits for an answer.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import harness
import pipelines_ir
from adversary_world import RBAC, make_tenant
from harness import Running

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("adversary-requests")]

MIB = 1 << 20
#: Of the control plane after all of them; it begins with about 80.
MOST_MEMORY = 450 * MIB
MAPS = "/api/v1/namespaces/a/configmaps"
PODS = "/api/v1/namespaces/a/pods"
RUNS = "/apis/v2beta1/runs"
JSON_PATCH = "application/json-patch+json"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder: Path = tmp_path_factory.mktemp("requests")
    with harness.bessemer(folder) as opened:
        opened.editor = make_tenant(opened, "a")  # type: ignore[attr-defined]
        opened.create(MAPS, {"metadata": {"name": "wide"}, "data": keys(200_000)})
        yield opened


@pytest.fixture(autouse=True)
def _lives(running: Running) -> Iterator[None]:
    yield
    assert running.request("GET", "/healthz") == (200, "ok")
    assert psutil.Process(running.pid).memory_info().rss < MOST_MEMORY


def keys(count: int) -> dict[str, str]:
    return {str(number): "" for number in range(count)}


def send(
    running: Running, method: str, path: str, body: bytes, content_type: str = "application/json"
) -> tuple[int, Any]:
    """A request of the tenant's editor whose body is bytes already."""
    context = ssl.create_default_context(cafile=str(running.ca))
    connection = http.client.HTTPSConnection(
        harness.HOST, running.port, timeout=30, context=context
    )
    token = running.editor if path.startswith("/api/") else running.token  # type: ignore[attr-defined]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": content_type}
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


ADD = {"op": "add", "path": "/data/z", "value": ""}
SAME = {"op": "test", "path": "/data/z", "value": ""}


@pytest.mark.parametrize(
    ("patch", "status"),
    [
        ([ADD] * 10_000, 200),
        ([ADD, *[SAME] * 9_999], 200),
        ([{"op": "add", "path": "/x", "value": [0] * 400_000}]
         + [{"op": "add", "path": "/x/0", "value": 1}] * 9_999, 422),
        ([ADD] * 10_001, 400),
    ],
    ids=["adds", "tests", "inserts", "too-many"],
)  # fmt: skip
def test_operations_on_a_wide_object(running: Running, patch: list[Any], status: int) -> None:
    found, answer = send(running, "PATCH", f"{MAPS}/wide", json.dumps(patch).encode(), JSON_PATCH)

    assert found == status, str(answer)[:300]


@pytest.mark.parametrize("mode", ["Strict", "Warn"])
def test_a_long_key_over_many_that_stand_twice(running: Running, mode: str) -> None:
    inner = b",".join(b'"%d":1' % (number % 10) for number in range(230_000))
    body = b'{"metadata":{"name":"k"},"' + b"q" * 1_500_000 + b'":{' + inner + b"}}"

    status, answer = send(running, "POST", f"{MAPS}?fieldValidation={mode}&dryRun=All", body)

    assert status == (400 if mode == "Strict" else 201)
    assert mode == "Warn" or len(answer["message"]) < 10_000


def test_a_selector_of_thousands_of_terms(running: Running) -> None:
    terms = "%2C".join(f"!k{number}" for number in range(6000))

    assert running.request("GET", f"{MAPS}?limit=1&labelSelector={terms}")[0] == 200
    assert running.request("GET", f"{MAPS}?limit=1&labelSelector={terms * 2}")[0] in (400, 431)


def test_a_question_about_a_token_is_as_long_as_tokens_are(running: Running) -> None:
    path = "/apis/authentication.k8s.io/v1/tokenreviews"
    long = {"spec": {"token": "x.y.z" * 400_000, "audiences": ["a"]}}
    many = {"spec": {"token": "x.y.z", "audiences": ["a"] * 100_000}}

    status, answer = running.request("POST", path, long)
    assert (status, answer["status"]["authenticated"]) == (201, False)
    assert running.request("POST", path, many)[0] == 400


def test_a_role_of_a_thousand_million_permissions(running: Running) -> None:
    words = [f"w{number}" for number in range(1000)]
    rule = {"verbs": words, "apiGroups": words, "resources": words}
    everything = {"verbs": ["create"], "apiGroups": ["rbac.authorization.k8s.io"]}
    admin = [{**everything, "resources": ["roles"]}]
    names = f"{RBAC}/namespaces/a"
    running.create(f"{names}/roles", {"metadata": {"name": "giver"}, "rules": admin})
    running.create(f"{names}/rolebindings", {
        "metadata": {"name": "giver"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "giver"},
        "subjects": [{"kind": "ServiceAccount", "name": "editor", "namespace": "a"}],
    })  # fmt: skip

    status, answer = running.request(
        "POST",
        f"{names}/roles",
        {"metadata": {"name": "all"}, "rules": [rule]},
        token=running.editor,  # type: ignore[attr-defined]
    )

    assert (status, answer["message"][:20]) == (400, "a role's permissions")


def upload(running: Running, data: bytes, query: str) -> int:
    frame = b'--b\r\nContent-Disposition: form-data; name="uploadfile"; filename="x.yaml"\r\n\r\n'
    body = frame + data + b"\r\n--b--\r\n"
    path = f"/apis/v2beta1/pipelines/upload?{query}"
    return send(running, "POST", path, body, "multipart/form-data; boundary=b")[0]


def test_large_files_of_short_values(running: Running) -> None:
    for number, (size, status) in enumerate([(30, 413), (7, 400), (7, 400)]):
        data = b"a:\n" + b"- a\n" * (size * 250_000)
        assert upload(running, data, f"name=f{number}") == status


def test_a_placeholder_that_stands_three_thousand_times(running: Running) -> None:
    argument = "{{$.inputs.parameters['m']}}" * 3000
    declared = {"parameters": {"m": {"parameterType": "STRING"}}}
    inputs = {"parameters": {"m": {"componentInputParameter": "m"}}}
    ir = {
        "schemaVersion": "2.1.0",
        "pipelineInfo": {"name": "p"},
        "components": {"c": {"executorLabel": "e", "inputDefinitions": declared}},
        "deploymentSpec": {
            "executors": {
                "e": {"container": {"image": "busybox", "command": ["true"], "args": [argument]}}
            }
        },
        "root": {
            "dag": {
                "tasks": {
                    "t": {
                        "taskInfo": {"name": "t"},
                        "componentRef": {"name": "c"},
                        "inputs": inputs,
                    }
                }
            },
            "inputDefinitions": declared,
        },
    }
    body = {
        "display_name": "r",
        "pipeline_spec": ir,
        "runtime_config": {"parameters": {"m": "x" * 1_000_000}},
    }

    run = running.create(RUNS, body)["run_id"]

    found = until_over(running, run)
    assert "may stand for 16777216 characters" in json.dumps(found)


def until_over(running: Running, run: str) -> Any:
    """The run once it ended; its claim's pods are made and gone meanwhile, so it is asked for."""
    while True:
        found = running.get(f"{RUNS}/{run}")
        if found["state"] in ("SUCCEEDED", "FAILED"):
            return found


def test_dags_that_double_are_refused_at_once(running: Running) -> None:
    task = pipelines_ir.task
    dags = {
        f"d{level}": {"dag": {"tasks": {name: task(f"d{level + 1}") for name in ("a", "b")}}}
        for level in range(30)
    }
    ir = {
        "schemaVersion": "2.1.0",
        "pipelineInfo": {"name": "p"},
        "components": {**dags, "d30": {"executorLabel": "e"}},
        "deploymentSpec": {"executors": {"e": {"container": {"image": "busybox"}}}},
        "root": {"dag": {"tasks": {"t": task("d0")}}},
    }

    status, answer = running.request("POST", RUNS, {"display_name": "r", "pipeline_spec": ir})

    assert (status, "10000 tasks" in json.dumps(answer)) == (400, True)


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_pods_without_number_are_refused(running: Running, kind: str) -> None:
    """Those that wait take the scheduler's time: others waited seconds before."""
    container = {"name": "main", "image": "busybox"}
    template: dict[str, Any] = {"spec": {"containers": [container]}}
    spec: dict[str, Any] = {"template": template}
    path = "/apis/apps/v1/namespaces/a/deployments"
    if kind == "Deployment":
        template["metadata"] = {"labels": {"app": "x"}}
        spec |= {"replicas": 2_000_000_000, "selector": {"matchLabels": {"app": "x"}}}
    else:
        path = "/apis/batch/v1/namespaces/a/jobs"
        template["spec"]["restartPolicy"] = "Never"
        spec |= {"parallelism": 2_000_000_000, "completions": 1_000_000_000}

    status, answer = running.request("POST", path, {"metadata": {"name": "many"}, "spec": spec})

    assert (status, "must be at most 1000" in answer["message"]) == (422, True)


def test_ports_times_endpoints_are_bounded(running: Running) -> None:
    """A Service of 30 000 ports over a slice of 20 000 endpoints froze all for two minutes."""
    ports = [{"name": f"p{number}", "port": number} for number in range(10_000, 40_000)]
    service = {"metadata": {"name": "s"}, "spec": {"ports": ports}}
    endpoints = [
        {"addresses": [f"127.0.{number // 250}.{number % 250 + 1}"]} for number in range(20_000)
    ]
    slice_ = {"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": endpoints}
    slices = "/apis/discovery.k8s.io/v1/namespaces/a/endpointslices"

    found = [
        running.request("POST", "/api/v1/namespaces/a/services", service),
        running.request("POST", slices, slice_),
    ]

    assert [(status, "Too many" in answer["message"]) for status, answer in found] == [
        (422, True), (422, True),
    ]  # fmt: skip
