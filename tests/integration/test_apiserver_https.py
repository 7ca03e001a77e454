"""The API server over https: certificates, kept-alive connections, watches, logs, the proxy."""

import asyncio
import contextlib
import json
import socket
import ssl
import stat
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import yaml

import apiserver_world
from bessemer.app.servers import Server
from bessemer.base.clock import SystemClock
from bessemer.cluster.apiserver import certificates, kubeconfig
from bessemer.kube.errors import BadRequest

CORE = "/api/v1/namespaces/default"
POD = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "m", "image": "i"}]}}


class FileLogs:
    """The node's port, over lines in memory; follows until told to end."""

    def __init__(self):
        self.more = asyncio.Event()
        self.since = None

    async def read(self, pod, options):
        self.since = options.since
        if options.container not in ("", "m"):
            raise BadRequest(f"container {options.container} is not valid for pod p")
        yield b"one\n"
        if options.follow:
            await self.more.wait()
            yield b"two\n"


async def greet(scope, receive, send):
    text = json.dumps([scope["path"], scope["query_string"].decode()]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": text})


@pytest.fixture
async def server(tmp_path):
    logs = FileLogs()
    services = {("default", "ml-pipeline"): greet}
    async with apiserver_world.running(tmp_path, logs=logs, services=services) as world:
        bound = socket.socket()
        bound.bind(("127.0.0.1", 0))
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(world.keys.certificate_file, world.keys.key_file)
        face = Server(world.app, bound, tls)
        serving = asyncio.ensure_future(face.run_until_stopped())
        await face.wait_started()
        world.url = f"https://127.0.0.1:{bound.getsockname()[1]}"
        world.logs = logs
        try:
            yield world
        finally:
            face.stop()
            await serving


@pytest.fixture
async def http(server):
    trust = ssl.create_default_context(cafile=server.keys.ca_file)
    headers = {"authorization": f"Bearer {server.keys.admin_token}"}
    async with httpx.AsyncClient(
        base_url=server.url, verify=trust, headers=headers, timeout=20
    ) as found:
        yield found


async def connect(server):
    """A bare connection: what no client library would send goes through it."""
    trust = ssl.create_default_context(cafile=server.keys.ca_file)
    host, port = server.url.removeprefix("https://").split(":")
    return await asyncio.open_connection(host, int(port), ssl=trust)


async def test_a_watch_sees_each_change_once_and_in_order(http):
    version = (await http.get(f"{CORE}/configmaps")).json()["metadata"]["resourceVersion"]
    query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": "20"}
    seen: list[tuple[str, str]] = []
    async with http.stream("GET", f"{CORE}/configmaps", params=query) as events:
        path = f"{CORE}/configmaps"
        await http.post(path, json={"metadata": {"name": "a"}})
        await http.put(f"{path}/a", json={"metadata": {"name": "a"}, "data": {"k": "v"}})
        await http.delete(f"{path}/a")
        async for line in events.aiter_lines():
            event = json.loads(line)
            seen.append((event["type"], event["object"]["metadata"]["name"]))
            if event["type"] == "DELETED":
                break

    assert seen == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


async def test_a_streaming_list_ends_with_its_bookmark(http):
    await http.post(f"{CORE}/configmaps", json={"metadata": {"name": "a"}})
    query = {"watch": "1", "sendInitialEvents": "true", "allowWatchBookmarks": "true",
             "resourceVersionMatch": "NotOlderThan", "timeoutSeconds": "20"}  # fmt: skip
    async with http.stream("GET", f"{CORE}/configmaps", params=query) as events:
        lines = events.aiter_lines()
        first, mark = json.loads(await anext(lines)), json.loads(await anext(lines))

    assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "a")
    assert mark["type"] == "BOOKMARK"
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_watch_ends_with_its_timeout_and_lets_go(http):
    query = {"watch": "1", "timeoutSeconds": "1"}

    reply = await http.get(f"{CORE}/secrets", params=query)

    assert (reply.status_code, reply.content) == (200, b"")


async def test_too_old_a_version_is_told_as_an_event(http):
    reply = await http.get(f"{CORE}/configmaps", params={"watch": "1", "resourceVersion": "-"})
    assert reply.status_code == 400


async def test_logs_are_followed_while_written(server, http):
    await http.post(f"{CORE}/pods", json=POD)

    whole = await http.get(f"{CORE}/pods/p/log")
    other = await http.get(f"{CORE}/pods/p/log", params={"container": "x"})
    async with http.stream("GET", f"{CORE}/pods/p/log", params={"follow": "true"}) as stream:
        lines = stream.aiter_lines()
        first = await anext(lines)
        server.logs.more.set()
        second = await anext(lines)

    assert whole.text == "one\n"
    assert other.status_code == 400
    assert (first, second) == ("one", "two")


async def test_logs_may_begin_some_seconds_ago(server, http):
    await http.post(f"{CORE}/pods", json=POD)
    path = f"{CORE}/pods/p/log"

    await http.get(path, params={"sinceSeconds": "3600"})
    ago = datetime.now(UTC) - server.logs.since
    refused = [
        (await http.get(path, params=query)).status_code
        for query in (
            {"sinceSeconds": "0"},
            {"sinceSeconds": "x"},
            {"sinceSeconds": "1", "sinceTime": "2026-01-01T00:00:00Z"},
            {"sinceTime": "yesterday"},
        )
    ]
    ever = await http.get(path, params={"sinceSeconds": str(10**15)})

    assert timedelta(hours=1) <= ago < timedelta(hours=2)
    assert refused == [422, 400, 422, 400]  # what a value may not be, and what is none
    assert (ever.status_code, server.logs.since) == (200, datetime.min.replace(tzinfo=UTC))


async def test_the_service_proxy_reaches_apps_in_this_process(http):
    base = f"{CORE}/services/http:ml-pipeline:8888/proxy"

    double = await http.get(f"{base}//apis/v2beta1/runs?page_size=3")
    unknown = await http.get(f"{CORE}/services/nobody/proxy/")

    assert double.json() == ["/apis/v2beta1/runs", "page_size=3"]
    assert unknown.status_code == 404


@contextlib.asynccontextmanager
async def serving(http, answer):
    """Service ``s``, whose address is answered by that."""
    service = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 1}]}}
    address = (await http.post(f"{CORE}/services", json=service)).json()["spec"]["clusterIP"]
    listening = await asyncio.start_server(answer, address, 0)
    ports = {"spec": {"ports": [{"port": listening.sockets[0].getsockname()[1]}]}}
    merge = {"content-type": "application/merge-patch+json"}
    await http.patch(f"{CORE}/services/s", json=ports, headers=merge)
    try:
        yield
    finally:
        listening.close()
        await listening.wait_closed()


@pytest.mark.allow_hosts(["127.0.0.1", "127.7.0.10"])
async def test_the_service_proxy_reaches_a_service_by_http(http):
    async def answer(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Bearer" not in head
        line = head.split(b"\r\n")[0]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(line), line))
        await writer.drain()
        writer.close()

    async with serving(http, answer):
        reply = await http.get(f"{CORE}/services/s/proxy/a/b?c=d")

    assert reply.text == "GET /a/b?c=d HTTP/1.1"


@pytest.mark.allow_hosts(["127.0.0.1", "127.7.0.10"])
@pytest.mark.parametrize("path", ["a%20b", "a%3Fb", "a%23b", "a%2541"])
async def test_the_proxied_path_stays_as_it_was_written(http, path):
    asked = []

    async def answer(reader, writer):
        asked.append((await reader.readuntil(b"\r\n\r\n")).split()[1].decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with serving(http, answer):
        await http.get(f"{CORE}/services/s/proxy/{path}")

    assert asked == [f"/{path}"]


@pytest.mark.allow_hosts(["127.0.0.1", "127.7.0.10"])
async def test_an_answer_that_breaks_off_is_not_passed_on_as_whole(http, caplog):
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes.")
        await writer.drain()
        writer.close()

    async with serving(http, answer):
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get(f"{CORE}/services/s/proxy/")

    assert (await http.get(f"{CORE}/services/s")).status_code == 200
    told = [record.message for record in caplog.records if record.name.startswith("bessemer")]
    assert told == ["answer cut off"]


async def test_a_client_that_trusts_others_refuses_us(server):
    with pytest.raises(httpx.ConnectError):
        async with httpx.AsyncClient() as http:
            await http.get(server.url)


@pytest.mark.parametrize("length", [20_000, 2_000_000])
async def test_a_very_long_url_is_refused_and_the_server_lives(server, http, length):
    reader, writer = await connect(server)
    head = f"GET {CORE}/configmaps?labelSelector={'x' * length} HTTP/1.1\r\nHost: x\r\n"
    token = f"Authorization: Bearer {server.keys.admin_token}\r\n"
    # It may hang up before it was told all.
    with contextlib.suppress(ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
        writer.write(f"{head}{token}Connection: close\r\n\r\n".encode())
        answer = await reader.readuntil(b"\r\n")
        assert answer.split()[1][:1] == b"4"
    writer.close()

    assert (await http.get(f"{CORE}/configmaps")).status_code == 200


async def test_a_body_in_pieces_has_the_same_limit(http):
    async def pieces():
        for _ in range(64):
            yield b" " * 65_536

    with contextlib.suppress(httpx.WriteError):  # it hangs up once it has had enough
        reply = await http.post(f"{CORE}/configmaps", content=pieces())
        assert (reply.status_code, reply.json()["reason"]) == (413, "RequestEntityTooLarge")

    assert (await http.get(f"{CORE}/configmaps")).json()["items"] == []


@pytest.mark.parametrize("head", ["Content-Length: 900", "Transfer-Encoding: chunked"])
async def test_half_a_request_does_nothing(server, http, head):
    await http.post(f"{CORE}/configmaps", json={"metadata": {"name": "a"}})
    reader, writer = await connect(server)
    lines = [
        f"DELETE {CORE}/configmaps/a HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {server.keys.admin_token}",
        head,
        "\r\n",
    ]
    writer.write("\r\n".join(lines).encode())
    await writer.drain()
    writer.close()
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        await writer.wait_closed()
        await reader.read()
    for _ in range(50):  # whatever it does, it does before so many later requests
        reply = await http.get(f"{CORE}/configmaps/a")

    assert reply.status_code == 200


async def test_head_and_gzip_clients_are_answered(http):
    head = await http.head("/version")
    refused = await http.head(f"{CORE}/configmaps")
    packed = await http.get(f"{CORE}/configmaps", headers={"accept-encoding": "gzip"})

    assert (head.status_code, head.content, refused.status_code) == (200, b"", 405)
    assert packed.json()["items"] == []


async def test_the_proxied_app_sees_no_claimed_identity(tmp_path):
    seen: list[bytes] = []

    async def app(scope, receive, send):
        seen.extend(name for name, _ in scope["headers"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async with apiserver_world.running(tmp_path, services={("default", "app"): app}) as world:
        path = f"{CORE}/services/app/proxy/x"
        reply = await world.ask("GET", path, headers={"kubeflow-userid": "eve", "x-other": "1"})

    assert reply.status == 200
    assert b"x-other" in seen
    assert b"kubeflow-userid" not in seen


class FixedClock(SystemClock):
    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment


def test_keys_are_private_kept_and_renewed(tmp_path):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    folder = tmp_path / "keys"
    first = certificates.ensure(folder, ["127.7.0.1"], FixedClock(start))
    server = first.certificate_file.read_bytes()
    again = certificates.ensure(folder, ["127.7.0.1"], FixedClock(start))
    kept = again.certificate_file.read_bytes()
    later = FixedClock(start + timedelta(days=340))
    renewed = certificates.ensure(folder, ["127.7.0.1"], later)

    assert (again.ca, again.admin_token, kept) == (first.ca, first.admin_token, server)
    assert renewed.ca == first.ca
    assert renewed.certificate_file.read_bytes() != server
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


def test_the_kubeconfig_is_private_and_whole(tmp_path):
    path = tmp_path / "kubeconfig"

    kubeconfig.write(path, "https://127.0.0.1:1", "CA", "token")

    config = yaml.safe_load(path.read_text())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert config["users"][0]["user"] == {"token": "token"}
    assert config["clusters"][0]["cluster"]["certificate-authority-data"] == "Q0E="
    assert config["current-context"] == config["contexts"][0]["name"]


async def test_a_client_that_hangs_up_leaves_no_watcher(server, http):
    for _ in range(3):
        with contextlib.suppress(TimeoutError):
            async with (
                asyncio.timeout(5),
                http.stream("GET", f"{CORE}/leases", params={"watch": "1"}),
            ):
                pass
    watchers = server.store._hub._watchers  # the store's own count has no public door
    async with asyncio.timeout(10):
        while watchers.get("leases.coordination.k8s.io"):  # noqa: ASYNC110 - a hang-up tells nobody
            await asyncio.sleep(0)

    assert not watchers.get("leases.coordination.k8s.io")
