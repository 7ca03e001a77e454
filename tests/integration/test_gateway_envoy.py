"""The gateway through the real Envoy."""

import asyncio
import base64
import contextlib
import json
import math
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

import gateway_world
from bessemer.gateway import manifests
from bessemer.gateway.bootstrap import Authentication, make_jwks
from bessemer.kinds import meta
from bessemer.kinds.configmap import CONFIG_MAP
from bessemer.kinds.endpointslice import ENDPOINT_SLICE
from bessemer.kinds.event import EVENT
from bessemer.kinds.httproute import HTTP_ROUTE
from bessemer.kinds.kind import Object
from bessemer.kinds.namespace import SYSTEM_NAMESPACE
from bessemer.kinds.service import SERVICE
from gateway_world import World, make_route_spec

ISSUER = "https://kubernetes.default.svc"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world.open_world(tmp_path) as world:
        yield world


async def test_path_goes_to_the_service_without_its_prefix(world: World) -> None:
    backend = await world.add_backend("a")
    await world.set_route("a", make_route_spec("/serving/default/a", {"a": 100}))
    await world.until_programmed("a")
    async with httpx.AsyncClient(base_url=world.url) as http:
        for path in ("/serving/default/a", "/serving/default/a/", "/serving/default/a/v2/m?x=1"):
            assert (await http.get(path)).text == "a"
        assert (await http.get("/serving/default/ab")).status_code == 404
    assert [path for path, _ in backend.requests] == ["/", "/", "/v2/m?x=1"]


async def test_host_goes_to_the_service_with_its_path(world: World) -> None:
    backend = await world.add_backend("a")
    spec = make_route_spec("/", {"a": 100}, hosts=("a-default.example.com",))
    await world.set_route("a-host", spec)
    await world.until_programmed("a-host")
    async with httpx.AsyncClient(base_url=world.url) as http:
        answer = await http.get("/v1/models", headers={"Host": "a-default.example.com:8082"})
        other = await http.get("/v1/models", headers={"Host": "b-default.example.com"})
    assert (answer.text, other.status_code) == ("a", 404)
    assert backend.requests[0][0] == "/v1/models"


async def test_weights_split_ten_thousand_requests(world: World) -> None:
    await world.add_backend("a")
    await world.add_backend("b")
    await world.set_route("m", make_route_spec("/m", {"a": 90, "b": 10}))
    await world.until_programmed("m")
    count = 10_000
    each = [gateway_world.ask_often(world, "/m", count // 8) for _ in range(8)]
    seen = sum(await asyncio.gather(*each), Counter[str]())
    sigma = math.sqrt(count * 0.1 * 0.9)
    assert sum(seen.values()) == count
    assert abs(seen["b"] - count * 0.1) < 4 * sigma


async def test_changed_endpoints_reach_envoy_without_a_change_of_the_route(world: World) -> None:
    await world.add_backend("a")
    second = gateway_world.Backend("second")
    await second.start()
    world.backends["second"] = second
    await world.set_route("a", make_route_spec("/a", {"a": 100}))
    await world.until_programmed("a")
    async with httpx.AsyncClient(base_url=world.url) as http:
        assert (await http.get("/a")).text == "a"
        await world.set_endpoints("a", [second.port])

        async def moved() -> bool:
            return (await http.get("/a")).text == "second"

        await world.until(moved)


async def test_moving_all_traffic_drops_no_request(world: World) -> None:
    await world.add_backend("old")
    await world.set_route("m", make_route_spec("/m", {"old": 100}))
    await world.until_programmed("m")
    answers: list[tuple[int, str]] = []
    stopping = asyncio.Event()

    async def load() -> None:
        async with httpx.AsyncClient(base_url=world.url) as http:
            while not stopping.is_set():
                answer = await http.get("/m")
                answers.append((answer.status_code, answer.text))

    loads = [asyncio.create_task(load()) for _ in range(4)]
    for number in range(5):
        name = f"new{number}"
        # The Service, its endpoints and the route that needs them all at once.
        await world.add_backend(name)
        await world.set_route("m", make_route_spec("/m", {name: 100}))
        await world.until_programmed("m")
    stopping.set()
    await asyncio.gather(*loads)
    assert {status for status, _ in answers} == {200}
    assert answers[-1][1] == "new4"


async def test_route_without_any_weight_says_so(world: World) -> None:
    await world.add_backend("a")
    await world.set_route("a", make_route_spec("/a", {"a": 0}))
    await world.until_programmed("a")
    async with httpx.AsyncClient(base_url=world.url) as http:
        answer = await http.get("/a/v1/models")
    assert answer.status_code == 503
    assert "default/a" in answer.json()["error"]


async def test_an_answer_that_takes_longer_than_the_route_allows_is_504(world: World) -> None:
    silent = await world.add_backend("silent")
    silent.is_silent = True
    spec = make_route_spec("/silent", {"silent": 100})
    spec["rules"][0]["timeouts"] = {"request": "200ms"}
    await world.set_route("silent", spec)
    await world.until_programmed("silent")
    async with httpx.AsyncClient(base_url=world.url, timeout=60) as http:
        answer = await http.get("/silent")
    assert answer.status_code == 504
    assert answer.headers["content-type"] == "application/json"
    assert "timeout" in answer.json()["error"]
    assert silent.requests


@pytest.mark.parametrize(
    "parts",
    [
        {"addressType": "FQDN", "endpoints": [{"addresses": ["example.com"]}]},
        {"ports": [{"name": "http"}]},
        {"ports": [{"name": "http", "port": 70_000}]},
    ],
)
async def test_an_endpoint_that_nothing_connects_to_stops_no_other_route(
    world: World, parts: Object
) -> None:
    await world.add_backend("a")
    odd = meta.new(SERVICE, "odd", "default", spec={"ports": [{"name": "http", "port": 80}]})
    await world.client.create(SERVICE, odd)
    entry = gateway_world.make_slice("odd", "default", [9])
    await world.client.create(ENDPOINT_SLICE, {**entry, **parts})
    for name in ("odd", "a"):
        await world.set_route(name, make_route_spec(f"/{name}", {name: 100}))
        await world.until_programmed(name)
    async with httpx.AsyncClient(base_url=world.url) as http:
        assert (await http.get("/a")).text == "a"
        assert (await http.get("/odd")).status_code == 503


@pytest.mark.parametrize("old", ["300.000s", '"authorization",'])
async def test_a_configuration_of_another_hand_or_version_is_written_anew(
    world: World, old: str
) -> None:
    await world.add_backend("a")
    await world.set_route("a", make_route_spec("/a", {"a": 100}))
    await world.until_programmed("a")
    ours = await world.client.get(CONFIG_MAP, manifests.XDS_CONFIG_MAP, SYSTEM_NAMESPACE)
    changed = ours["data"]["rds.json"].replace(old, "1.000s" if old.endswith("s") else "")
    assert changed != ours["data"]["rds.json"]
    data = {**ours["data"], "rds.json": changed}
    await world.client.update(CONFIG_MAP, {**ours, "data": data})

    async def is_ours() -> bool:
        return (world.xds / "rds.json").read_text() == ours["data"]["rds.json"]

    await world.until(is_ours)
    # And goes on from there.
    await world.set_route("a", make_route_spec("/b", {"a": 100}))
    await world.until_programmed("a")


async def test_a_configuration_that_envoy_refuses_is_told_and_over_when_its_cause_is(
    tmp_path: Path,
) -> None:
    async with gateway_world.open_world(tmp_path, patience=1.0) as world:
        await world.add_backend("a")
        await world.set_route("a", make_route_spec("/a", {"a": 100}))
        await world.until_programmed("a")
        # Admission refuses such a path; no admission is in front of this store.
        await world.set_route("odd", make_route_spec("//", {"a": 100}))

        async def told() -> bool:
            events = (await world.client.list(EVENT)).items
            return any(event["reason"] == "NotFollowed" for event in events)

        await world.until(told)
        async with httpx.AsyncClient(base_url=world.url) as http:
            assert (await http.get("/a")).text == "a"
        await world.client.delete(HTTP_ROUTE, "odd", "default")
        await world.set_route("a", make_route_spec("/b", {"a": 100}))
        await world.until_programmed("a")


async def test_deleted_route_is_gone_and_others_stay(world: World) -> None:
    await world.add_backend("a")
    await world.add_backend("b")
    for name in ("a", "b"):
        await world.set_route(name, make_route_spec(f"/{name}", {name: 100}))
        await world.until_programmed(name)
    await world.client.delete(HTTP_ROUTE, "a", "default")
    async with httpx.AsyncClient(base_url=world.url) as http:

        async def gone() -> bool:
            return (await http.get("/a")).status_code == 404

        await world.until(gone)
        assert (await http.get("/b")).text == "b"


async def test_identity_headers_of_the_caller_do_not_pass(world: World) -> None:
    backend = await world.add_backend("a")
    await world.set_route("a", make_route_spec("/a", {"a": 100}))
    await world.until_programmed("a")
    forged = {
        "kubeflow-userid": "admin@example.com",
        "X-Forwarded-Client-Cert": "By=me",
        "Authorization": "Bearer secret",
        "X-Mine": "kept",
    }
    async with httpx.AsyncClient(base_url=world.url) as http:
        assert (await http.get("/a", headers=forged)).status_code == 200
    (_, headers), *_ = backend.requests
    assert "x-mine" in headers
    assert not {name.lower() for name in forged if name != "X-Mine"} & set(headers)


def _encode(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).decode().rstrip("=")


def _sign(key: ed25519.Ed25519PrivateKey, **claims: object) -> str:
    head = _encode(json.dumps({"alg": "EdDSA", "typ": "JWT"}).encode())
    text = f"{head}.{_encode(json.dumps({'iss': ISSUER, 'aud': [ISSUER], **claims}).encode())}"
    return f"{text}.{_encode(key.sign(text.encode()))}"


async def test_only_known_bearers_pass(tmp_path: Path) -> None:
    key, stranger = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
    known = Authentication(
        "the-admin-token", make_jwks(key.public_key().public_bytes_raw()), ISSUER, ISSUER
    )
    tokens = {
        "the-admin-token": 200,
        _sign(key, sub="system:serviceaccount:default:a", exp=4_000_000_000): 200,
        _sign(stranger, sub="system:serviceaccount:default:a", exp=4_000_000_000): 401,
        _sign(key, sub="system:serviceaccount:default:a", exp=1_000_000_000): 401,
        _sign(key, sub="a", exp=4_000_000_000, aud=["else"]): 403,
        "another": 401,
    }
    async with gateway_world.open_world(tmp_path, known) as world:
        backend = await world.add_backend("a")
        await world.set_route("a", make_route_spec("/a", {"a": 100}))
        await world.until_programmed("a")
        async with httpx.AsyncClient(base_url=world.url) as http:
            seen = {
                token: (await http.get("/a", headers={"Authorization": f"Bearer {token}"}))
                for token in tokens
            }
            assert (await http.get("/a")).status_code == 401
        assert {token: answer.status_code for token, answer in seen.items()} == tokens
        assert len(backend.requests) == 2
        assert not any("authorization" in headers for _, headers in backend.requests)


async def test_a_head_without_end_is_cut_and_others_are_answered(world: World) -> None:
    await world.add_backend("a")
    await world.set_route("a", make_route_spec("/a", {"a": 100}))
    await world.until_programmed("a")
    url = httpx.URL(world.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)

    writer.write(b"GET /a HTTP/1.1\r\nHost: x\r\nX: ")
    with contextlib.suppress(ConnectionError):
        for _ in range(64):
            writer.write(b"a" * 65_536)
            await writer.drain()
        assert b" 431 " in await reader.readline()
    writer.close()

    async with httpx.AsyncClient(base_url=world.url) as http:
        assert (await http.get("/a")).text == "a"
