"""Who has no token holds up nobody: heads without end, thousands of idle connections."""

from __future__ import annotations

import contextlib
import http.client
import json
import resource
import socket
import ssl
from collections.abc import Iterator

import pytest

import harness
from bessemer.app.connections import Limits
from harness import Running

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("adversary-requests")]

MAPS = "/api/v1/namespaces/default/configmaps"
MANY = Limits.connections + 500


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with harness.bessemer(tmp_path_factory.mktemp("connections")) as opened:
        yield opened


@pytest.fixture
def descriptors() -> Iterator[None]:
    """This process may have as many as it needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 3 * MANY:
        pytest.skip("this user may not open so many connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3 * MANY), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def assert_answers(running: Running) -> None:
    """The API and the pages answer a newcomer."""
    assert running.request("GET", "/healthz") == (200, "ok")
    pages = http.client.HTTPConnection(harness.HOST, running.port + 1, timeout=30)
    pages.request("GET", "/apis/v2beta1/healthz")
    assert pages.getresponse().status == 401
    pages.close()


@pytest.mark.parametrize("offset", [0, 1], ids=["api", "pages"])
def test_a_head_without_end_is_cut(running: Running, offset: int) -> None:
    line: socket.socket = socket.create_connection((harness.HOST, running.port + offset), 30)
    if offset == 0:
        context = ssl.create_default_context(cafile=str(running.ca))
        line = context.wrap_socket(line, server_hostname=harness.HOST)
    sent = 0
    with line, contextlib.suppress(ConnectionError, ssl.SSLError):
        line.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
        while sent < 300 << 20:
            line.sendall(b"a" * 65_536)
            sent += 65_536

    assert sent < 150 << 20
    assert_answers(running)


@pytest.mark.usefixtures("descriptors")
@pytest.mark.parametrize("offset", [0, 1], ids=["api", "pages"])
def test_idle_connections_make_room_and_a_watch_stays(running: Running, offset: int) -> None:
    version = running.get(MAPS)["metadata"]["resourceVersion"]
    context = ssl.create_default_context(cafile=str(running.ca))
    watch = http.client.HTTPSConnection(harness.HOST, running.port, timeout=60, context=context)
    watch.request(
        "GET",
        f"{MAPS}?watch=1&resourceVersion={version}",
        headers={"Authorization": f"Bearer {running.token}"},
    )
    events = watch.getresponse()
    with contextlib.ExitStack() as stack:
        for number in range(MANY):
            address = (f"127.0.0.{number % 3 + 1}", 0)
            opened = socket.create_connection(
                (harness.HOST, running.port + offset), 30, source_address=address
            )
            stack.callback(opened.close)

        assert_answers(running)
        running.create(MAPS, {"metadata": {"name": f"news{offset}"}})
        assert json.loads(events.readline())["object"]["metadata"]["name"] == f"news{offset}"
    watch.close()
    assert_answers(running)
