"""Sessions of the pages: what a browser holds counts for them alone, and nobody else sees it."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from adversary_world import World, make_account, pods
from bessemer.kinds import meta

pytestmark = pytest.mark.timeout(180)

ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/a/httproutes"
SERVICES = "/api/v1/namespaces/a/services"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/a/endpointslices"
FOLLOW_SECONDS = 30.0
SECRETS = ("authorization", "cookie", "proxy-authorization")
# Answers with the headers that it sees, and leaves a cookie.
ECHO = """
import http.server, json, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(dict(self.headers)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Set-Cookie", "bessemer-1=mine")
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer((os.environ["POD_IP"], 8000), Handler).serve_forever()
"""


def sign_in(world: World, secret: str) -> str:
    """The cookie of a new session: "name=value"."""
    pages = world.bessemer.pipelines
    answer = httpx.post(f"{pages}/login", data={"secret": secret}, headers={"Origin": pages})
    assert answer.status_code == 303, answer.text
    return answer.headers["set-cookie"].partition(";")[0]


def see(world: World, cookie: str, path: str = "/", **headers: str) -> httpx.Response:
    return httpx.get(world.bessemer.pipelines + path, headers={"Cookie": cookie, **headers})


def test_a_sessions_cookie_is_no_token_and_no_token_is_a_session(world: World) -> None:
    bessemer, editor = world.bessemer, world.tokens["a"]
    cookie = sign_in(world, editor)
    name, value = cookie.split("=", 1)

    assert see(world, cookie).status_code == 200
    assert editor not in value
    assert bessemer.token not in value
    for token in (editor, bessemer.token):
        assert see(world, f"{name}={token}").status_code == 401
        answer = httpx.get(bessemer.pipelines, params={"token": token})
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        assert token not in answer.text
    # Nor does any other face take it, whichever way it comes.
    for headers in ({"Cookie": cookie}, {"Authorization": f"Bearer {value}"}):
        for url in (
            f"{bessemer.api}/api/v1/namespaces/a/pods",
            f"{bessemer.api}/apis/v2beta1/runs",
            f"{bessemer.pipelines}/apis/v2beta1/runs",
            f"{bessemer.gateway}/serving/a/x/v1/models",
            f"{bessemer.gateway}/-/config",
        ):
            with httpx.Client(verify=False) as client:
                assert client.get(url, headers=headers).status_code in (401, 403), url


def test_a_session_ends_at_signing_out_and_with_its_account(world: World) -> None:
    pages = world.bessemer.pipelines
    cookie, other = sign_in(world, world.tokens["a"]), sign_in(world, world.tokens["a"])
    proof = re.search(r'name="proof" value="(\w+)"', see(world, cookie).text)
    assert proof is not None
    answer = httpx.post(
        f"{pages}/logout",
        data={"proof": proof[1]},
        headers={"Cookie": cookie, "Origin": pages},
    )
    assert answer.status_code == 303
    assert [see(world, one).status_code for one in (cookie, other)] == [401, 200]

    token = make_account(world.bessemer, "a", "passing")
    passing = sign_in(world, token)
    assert see(world, passing).status_code == 200
    world.bessemer.delete("/api/v1/namespaces/a/serviceaccounts/passing")
    assert see(world, passing).status_code == 401
    make_account(world.bessemer, "a", "passing")  # of that name, but another
    assert see(world, passing).status_code == 401


def test_a_page_of_another_origin_changes_nothing(world: World) -> None:
    """A pod's page is of the same site, so the browser adds the cookie to what it asks for."""
    pages = world.bessemer.pipelines
    cookie = sign_in(world, world.tokens["a"])
    proof = re.search(r'name="proof" value="(\w+)"', see(world, cookie).text)
    assert proof is not None

    for origin in ("http://127.0.0.1:8000", "http://elsewhere.example", "null", None):
        headers = {"Cookie": cookie} | ({"Origin": origin} if origin else {})
        for path, form in (
            ("/logout", {"proof": proof[1]}),
            ("/login", {"secret": world.tokens["b"]}),
        ):
            answer = httpx.post(pages + path, data=form, headers=headers)
            assert answer.status_code == 403
            assert "set-cookie" not in answer.headers
    foreign = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}
    assert see(world, cookie, **foreign).status_code == 403
    assert see(world, cookie, Host="rebound.example").status_code == 421
    assert see(world, cookie).status_code == 200


def test_a_code_is_its_bearers_and_works_once(world: World) -> None:
    bessemer = world.bessemer
    link = bessemer.wait_for_line("sign in, once", 5)
    assert bessemer.token not in link
    assert bessemer.token not in "\n".join(bessemer.lines)

    bearer = {"Authorization": f"Bearer {world.tokens['a']}"}
    code = httpx.post(f"{bessemer.pipelines}/login/codes", headers=bearer).json()["code"]
    cookie = sign_in(world, code)
    assert "system:serviceaccount:a:editor" in see(world, cookie).text
    form = {"secret": code}
    again = httpx.post(
        f"{bessemer.pipelines}/login", data=form, headers={"Origin": bessemer.pipelines}
    )
    assert again.status_code == 401
    by_cookie = httpx.post(f"{bessemer.pipelines}/login/codes", headers={"Cookie": cookie})
    assert by_cookie.status_code == 401


@pytest.fixture
def echo(world: World) -> Iterator[World]:
    """A Service of namespace a that tells what it sees, behind the gateway at /echo."""
    container = {
        "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "ports": [{"containerPort": 8000}],
        "readinessProbe": {"tcpSocket": {"port": 8000}, "periodSeconds": 1},
    }
    world.start("echo", ECHO, container=container)
    bessemer = world.bessemer
    bessemer.request(
        "PATCH",
        f"{pods('a')}/echo",
        {"metadata": {"labels": {"app": "echo"}}},
        content_type="application/merge-patch+json",
    )
    service = {"selector": {"app": "echo"}, "ports": [{"port": 8080, "targetPort": 8000}]}
    bessemer.create(SERVICES, {"metadata": {"name": "echo"}, "spec": service})
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": "/echo"}}],
        "backendRefs": [{"name": "echo", "port": 8080}],
    }
    bessemer.create(ROUTES, {"metadata": {"name": "echo"}, "spec": {"rules": [rule]}})
    bessemer.until(SLICES, lambda found: any(map(_has_endpoints, found)))
    yield world
    for path in (f"{ROUTES}/echo", f"{SERVICES}/echo", f"{pods('a')}/echo?gracePeriodSeconds=0"):
        bessemer.delete(path)


def _has_endpoints(piece: Any) -> bool:
    return any(meta.dig(one, "conditions.ready") for one in piece.get("endpoints") or ())


def test_nobody_behind_us_sees_a_callers_cookie_or_token(echo: World) -> None:
    bessemer, token = echo.bessemer, echo.tokens["a"]
    cookie = sign_in(echo, bessemer.token)
    sent = {
        "Authorization": f"Bearer {token}",
        "Cookie": f"{cookie}; other=1",
        "Proxy-Authorization": "Basic eDp5",
        "X-Kept": "yes",
    }
    answers = [
        ask_until(f"{bessemer.gateway}/echo/x", sent),
        ask_until(f"{bessemer.api}{SERVICES}/echo:8080/proxy/x", sent),
    ]

    for answer in answers:
        seen = {name.lower(): value for name, value in answer.json().items()}
        assert seen["x-kept"] == "yes"
        assert not {*SECRETS} & seen.keys(), seen
        assert "set-cookie" not in answer.headers
        assert token not in answer.text
        assert cookie not in answer.text


def ask_until(url: str, headers: dict[str, str]) -> httpx.Response:
    """Ask until somebody answers: Envoy says nothing when it follows a change."""
    pause = threading.Event()
    with httpx.Client(verify=False) as client:
        for _ in range(int(FOLLOW_SECONDS / 0.1)):
            answer = client.get(url, headers=headers)
            if answer.status_code == 200:
                return answer
            pause.wait(0.1)
    raise AssertionError(f"{url} never answered, but {answer.status_code}: {answer.text}")


def test_a_huge_form_is_no_form(world: World) -> None:
    """Who has no token makes the pages keep nothing."""
    port = world.bessemer.port + 1
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Origin": world.bessemer.pipelines, "Content-Length": str(1 << 30)}
    connection.request("POST", "/login", json.dumps({}) + "x" * (1 << 18), headers)
    try:
        assert connection.getresponse().status == 401
    finally:
        connection.close()
