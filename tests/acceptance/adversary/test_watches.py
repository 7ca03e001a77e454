"""What was begun with a right ends soon after the right does."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import harness
from adversary_world import RBAC, World, make_tenant, pods

pytestmark = pytest.mark.timeout(120)

_SECONDS = 20  # that a stream which must end may take; one that goes on has no end


@contextmanager
def stream(world: World, path: str, token: str) -> Iterator[http.client.HTTPResponse]:
    """An answer that is read as it comes."""
    running = world.bessemer
    context = ssl.create_default_context(cafile=str(running.ca))
    connection = http.client.HTTPSConnection(
        harness.HOST, running.port, timeout=_SECONDS, context=context
    )
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        yield answer
    finally:
        connection.close()


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
