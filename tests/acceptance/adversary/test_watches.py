"""What was begun with a right ends soon after the right does."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import harness
from adversary_world import RBAC, World, make_tenant, pods
from pipelines_ir import pipeline, step, task

pytestmark = pytest.mark.timeout(120)

_SECONDS = 20  # that a stream which must end may take; one that goes on has no end


@contextmanager
def stream(world: World, path: str, token: str) -> Iterator[http.client.HTTPResponse]:
    """An answer that is read as it comes."""
    answer, connection = begin(world.bessemer, path, token)
    try:
        assert answer.status == 200, answer.read()
        yield answer
    finally:
        connection.close()


def begin(
    running: harness.Running, path: str, token: str
) -> tuple[http.client.HTTPResponse, http.client.HTTPSConnection]:
    context = ssl.create_default_context(cafile=str(running.ca))
    connection = http.client.HTTPSConnection(
        harness.HOST, running.port, timeout=_SECONDS, context=context
    )
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    return connection.getresponse(), connection


def wait_answered(running: harness.Running, path: str, token: str) -> None:
    """Ask until it answers: Envoy says nothing when it follows a change."""
    pause = threading.Event()
    for _ in range(int(_SECONDS / 0.1)):
        answer, connection = begin(running, path, token)
        connection.close()
        if answer.status == 200:
            return
        pause.wait(0.1)
    raise AssertionError(f"{path} never answered, but {answer.status}")


@pytest.fixture
def tenant(world: World, request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """A namespace of the test's own, and its editor's token."""
    name = f"w{abs(hash(request.node.name)) % 10**8}"
    yield name, make_tenant(world.bessemer, name)
    world.bessemer.delete(f"/api/v1/namespaces/{name}")


def test_a_watch_ends_with_its_account(world: World, tenant: tuple[str, str]) -> None:
    name, token = tenant
    with stream(world, f"{pods(name)}?watch=1", token) as answer:
        world.bessemer.delete(f"/api/v1/namespaces/{name}/serviceaccounts/editor")
        last = json.loads(answer.read().splitlines()[-1])
    assert last["type"] == "ERROR"
    assert last["object"]["code"] == 401


def test_a_watch_ends_with_its_binding(world: World, tenant: tuple[str, str]) -> None:
    name, token = tenant
    with stream(world, f"/api/v1/namespaces/{name}/secrets?watch=1", token) as answer:
        world.bessemer.delete(f"{RBAC}/namespaces/{name}/rolebindings/editor")
        assert json.loads(answer.read().splitlines()[-1])["type"] == "ERROR"


def test_a_followed_log_ends_with_its_binding(world: World, tenant: tuple[str, str]) -> None:
    name, token = tenant
    container = {
        "name": "main", "image": "python:3.11",
        "command": ["python3", "-uc", "import time\nwhile True: print('x'); time.sleep(0.05)"],
    }  # fmt: skip
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    world.bessemer.create(pods(name), {"metadata": {"name": "talker"}, "spec": spec})
    world.bessemer.until(pods(name), lambda found: found[0]["status"].get("phase") == "Running")
    with stream(world, f"{pods(name)}/talker/log?follow=true", token) as answer:
        assert answer.read(1) == b"x"
        world.bessemer.delete(f"{RBAC}/namespaces/{name}/rolebindings/editor")
        answer.read()  # to its end


def test_the_followed_log_of_a_pipelines_step_ends_with_its_binding(
    world: World, tenant: tuple[str, str]
) -> None:
    name, token = tenant
    talks = pipeline(
        {"talks": task("talks")},
        {"talks": step({})},
        container={
            "image": "busybox",
            "command": ["sh", "-c", "while echo x; do sleep 0.05; done"],
        },
    )
    body = {"display_name": "talks", "pipeline_spec": talks}
    runs = f"/apis/v2beta1/runs?namespace={name}"
    status, run = world.bessemer.request("POST", runs, body, token=token)
    assert status == 200, run
    world.bessemer.until(
        pods(name), lambda found: found and found[0]["status"].get("phase") == "Running"
    )
    log = f"/apis/v2beta1/runs/{run['run_id']}/nodes/talks/log?follow=true"
    with stream(world, log, token) as answer:
        assert answer.read(1) == b"x"
        world.bessemer.delete(f"{RBAC}/namespaces/{name}/rolebindings/editor")
        answer.read()  # to its end


_ENDLESS = """
import http.server, os, time

class Endless(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(b"x")
            time.sleep(0.05)

http.server.ThreadingHTTPServer((os.environ["IP"], 8000), Endless).serve_forever()
"""


def test_a_proxied_stream_ends_with_its_binding(world: World, tenant: tuple[str, str]) -> None:
    name, token = tenant
    running = world.bessemer
    container = {
        "name": "main", "image": "python:3.11", "command": ["python3", "-uc", _ENDLESS],
        "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "readinessProbe": {"tcpSocket": {"port": 8000}, "periodSeconds": 1},
    }  # fmt: skip
    metadata = {"name": "endless", "labels": {"app": "endless"}}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    running.create(pods(name), {"metadata": metadata, "spec": spec})
    service = {"selector": {"app": "endless"}, "ports": [{"port": 8000}]}
    services = f"/api/v1/namespaces/{name}/services"
    running.create(services, {"metadata": {"name": "endless"}, "spec": service})
    path = f"{services}/endless:8000/proxy/"
    wait_answered(running, path, token)
    with stream(world, path, token) as answer:
        assert answer.read(1) == b"x"
        running.delete(f"{RBAC}/namespaces/{name}/rolebindings/editor")
        with contextlib.suppress(http.client.IncompleteRead, ConnectionError):
            answer.read()  # to its end


def test_a_watch_of_one_who_may_goes_on(world: World, tenant: tuple[str, str]) -> None:
    name, token = tenant
    running = world.bessemer
    with stream(world, f"/api/v1/namespaces/{name}/configmaps?watch=1", token) as answer:
        assert json.loads(answer.readline())["object"]["metadata"]["name"] == "kube-root-ca.crt"
        other = f"{RBAC}/namespaces/{name}/rolebindings"
        body = running.get(f"{other}/editor")
        body["metadata"] = {"name": "again"}
        running.create(other, body)
        running.delete(f"{other}/editor")
        maps = f"/api/v1/namespaces/{name}/configmaps"
        # Two looks later it is still there.
        assert json.loads(_after(running, answer, maps))["object"]["metadata"]["name"] == "late"


def _after(running: harness.Running, answer: http.client.HTTPResponse, path: str) -> bytes:
    """The watch's next line: of an object that is made when its right was judged again."""
    with pytest.raises(AssertionError, match="it never held"):
        running.until(path, lambda _: False, 3)
    running.create(path, {"metadata": {"name": "late"}})
    return answer.readline()
