"""Probes against real servers in pods."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bessemer.kinds import meta
from bessemer.kinds.event import EVENT
from bessemer.kinds.kind import Object
from bessemer.kube.client import LogOptions
from node_cluster import Cluster, open_cluster

# Probes ask pods at their own loopback addresses.
pytestmark = pytest.mark.allow_hosts(["127.0.0.0/8"])
FAST = {"periodSeconds": 1, "timeoutSeconds": 1}
# Answers 200 on / and 503 on /bad, on the pod's own address.
SERVER = """
import http.server, os, socket
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if self.path == "/bad" else 200)
        self.end_headers()
http.server.ThreadingHTTPServer((os.environ["IP"], 8080), H).serve_forever()
"""
IP = {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with open_cluster(tmp_path / "home") as opened:
        yield opened


async def serve(cluster: Cluster, name: str, **parts: Any) -> None:
    ports = [{"name": "http", "containerPort": 8080}]
    await cluster.run(
        name, "python3", "-c", SERVER, image="python:3", env=[IP], ports=ports, **parts
    )


def is_ready(pod: Object) -> bool:
    conditions = meta.dig(pod, "status.conditions") or []
    return {"Ready": "True"}.items() <= {c["type"]: c["status"] for c in conditions}.items()


def restarts(pod: Object) -> int:
    statuses = meta.dig(pod, "status.containerStatuses") or [{}]
    return int(statuses[0].get("restartCount", 0))


async def test_http_readiness_by_port_name(cluster: Cluster) -> None:
    await serve(cluster, "a", readinessProbe={"httpGet": {"port": "http", "path": "/"}, **FAST})
    pod = await cluster.until("a", is_ready)
    assert pod["status"]["containerStatuses"][0]["ready"]


async def test_a_pod_that_is_not_ready_says_so(cluster: Cluster) -> None:
    await serve(cluster, "a", readinessProbe={"httpGet": {"port": 8080, "path": "/bad"}, **FAST})
    await cluster.event("a", "Unhealthy")
    pod = await cluster.phase("a", "Running")
    assert not is_ready(pod)
    ready = next(c for c in pod["status"]["conditions"] if c["type"] == "Ready")
    assert ready["message"] == "containers with unready status: [main]"


# Answers 503 until it was asked so many times; says of each request its path and how long ago the
# container's process began.
LATE = """
import http.server, os, sys, time
ticks = int(open("/proc/self/stat").read().rpartition(")")[2].split()[19])
began = ticks / os.sysconf("SC_CLK_TCK")
seen = 0
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global seen
        seen += 1
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - began
        print(self.path, f"{age:.3f}", flush=True)
        self.send_response(200 if seen > int(sys.argv[1]) else 503)
        self.end_headers()
    def log_message(self, *args):
        pass
http.server.HTTPServer((os.environ["IP"], 8080), H).serve_forever()
"""


async def serve_late(cluster: Cluster, refusals: int, **parts: Any) -> None:
    await cluster.run(
        "a", "python3", "-c", LATE, str(refusals), image="python:3", env=[IP], **parts
    )


async def requests(cluster: Cluster, pod: Object, count: int = 1) -> list[tuple[str, float]]:
    """What was asked so far, once it is so many: a log comes a little after what it tells of."""
    seen = b""
    async with asyncio.timeout(30):
        async for piece in cluster.logs.read(pod, LogOptions(follow=True)):
            seen += piece
            if seen.count(b"\n") >= count:
                break
    lines = [line.split() for line in seen.decode().splitlines()]
    return [(path, float(age)) for path, age in lines]


async def test_what_begins_to_pass_is_ready_before_the_period_ends(cluster: Cluster) -> None:
    # A period is longer than this test waits: only looks in between can find it.
    probe = {"httpGet": {"port": 8080, "path": "/ready"}, "periodSeconds": 600}
    await serve_late(cluster, 5, readinessProbe=probe)
    pod = await cluster.until("a", is_ready)
    # Five refusals, the look that passed, and the probe itself.
    assert [path for path, _ in await requests(cluster, pod, 7)] == ["/ready"] * 7
    failures = [entry for entry in await cluster.events("a") if entry[0] == "Unhealthy"]
    # The server did not listen yet when it was first asked; looks are never told of.
    assert len(failures) <= 1


async def test_looks_in_between_fail_without_a_trace(cluster: Cluster) -> None:
    probe = {"httpGet": {"port": 8080, "path": "/ready"}, "periodSeconds": 600}
    await serve_late(cluster, 1000, readinessProbe={**probe, "failureThreshold": 1})
    pod = await cluster.phase("a", "Running")
    seen = b""
    async with asyncio.timeout(30):
        async for piece in cluster.logs.read(pod, LogOptions(follow=True)):
            seen += piece
            if seen.count(b"/ready") >= 10:
                break
    await cluster.event("a", "Unhealthy")
    told = [event for event in (await cluster.client.list(EVENT)).items if is_unhealthy(event)]
    assert [event.get("count", 1) for event in told] == [1]


def is_unhealthy(event: Object) -> bool:
    return (event["involvedObject"]["name"], event["reason"]) == ("a", "Unhealthy")


async def test_nobody_looks_before_the_initial_delay(cluster: Cluster) -> None:
    probe = {"httpGet": {"port": 8080, "path": "/ready"}, "initialDelaySeconds": 2}
    await serve_late(cluster, 0, readinessProbe={**probe, "periodSeconds": 600})
    pod = await cluster.until("a", is_ready)
    (_, age), *_ = await requests(cluster, pod)
    assert age > 1.9


async def test_nobody_looks_before_the_startup_probe_passed(cluster: Cluster) -> None:
    startup = {"httpGet": {"port": 8080, "path": "/start"}, "periodSeconds": 1}
    ready = {"httpGet": {"port": 8080, "path": "/ready"}, "periodSeconds": 600}
    await serve_late(
        cluster, 1, startupProbe={**startup, "failureThreshold": 30}, readinessProbe=ready
    )
    pod = await cluster.until("a", is_ready)
    paths = [path for path, _ in await requests(cluster, pod)]
    assert paths == ["/start", "/start", "/ready"]


async def test_tcp_probe(cluster: Cluster) -> None:
    await serve(cluster, "a", readinessProbe={"tcpSocket": {"port": 8080}, **FAST})
    assert is_ready(await cluster.until("a", is_ready))


async def test_an_exec_liveness_probe_restarts(cluster: Cluster) -> None:
    probe = {"exec": {"command": ["test", "-e", "/tmp/alive"]}, "failureThreshold": 1, **FAST}
    await cluster.run(
        "a", "sleep", "60", livenessProbe=probe,
        spec={"restartPolicy": "Always", "terminationGracePeriodSeconds": 1},
    )  # fmt: skip
    pod = await cluster.until("a", lambda pod: restarts(pod) >= 1)
    assert pod["status"]["phase"] == "Running"
    assert "Liveness probe failed" in await cluster.event("a", "Unhealthy")
    assert "failed liveness probe, will be restarted" in await cluster.event("a", "Killing")


# Counts how often it was asked; passes at the numbers that are its arguments, and remembers the
# last at which it failed.
COUNTING = """
n=$(( $(cat /v/asked 2>/dev/null || echo 0) + 1 )); echo $n > /v/asked
case " $* " in *" $n "*) ;; *) echo $n > /v/failed; exit 1;; esac
"""


async def run_counted(cluster: Cluster, kind: str, passes: str, **parts: int) -> Object:
    """A pod with such a probe, which says at each start at which number it failed last."""
    probe = {"exec": {"command": ["sh", "-c", COUNTING, "probe", *passes.split()]}, **FAST}
    return await cluster.run(
        "a", "sh", "-c", "test ! -e /v/failed || cat /v/failed; exec sleep 60",
        volumeMounts=[{"name": "v", "mountPath": "/v"}],
        spec={
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 1,
            "volumes": [{"name": "v", "emptyDir": {}}],
        },
        **{kind: {**probe, **parts}},
    )  # fmt: skip


async def test_failures_in_a_row_restart_and_fewer_do_not(cluster: Cluster) -> None:
    await run_counted(cluster, "livenessProbe", "2 5 6 7 8 9 10 11 12", failureThreshold=2)
    pod = await cluster.until("a", lambda pod: restarts(pod) >= 1)
    seen = b""
    async with asyncio.timeout(30):
        async for piece in cluster.logs.read(pod, LogOptions(follow=True)):
            seen += piece
            if seen.endswith(b"\n"):
                break
    assert seen == b"4\n"  # not after the first failure, nor after the third


async def test_passes_in_a_row_make_ready_and_fewer_do_not(cluster: Cluster) -> None:
    pod = await run_counted(cluster, "readinessProbe", "1 3 4 5 6 7 8 9", successThreshold=2)
    await cluster.until("a", is_ready)
    (asked,) = (cluster.home.pods / meta.uid(pod)).rglob("asked")
    assert int(asked.read_text()) >= 4


async def test_readiness_waits_for_the_startup_probe(cluster: Cluster) -> None:
    startup = {"exec": {"command": ["test", "-e", "/tmp/up"]}, "failureThreshold": 20, **FAST}
    await cluster.run("a", "sh", "-c", "sleep 1.2; touch /tmp/up; sleep 60", startupProbe=startup)
    first = await cluster.phase("a", "Running")
    assert not first["status"]["containerStatuses"][0]["started"]
    pod = await cluster.until("a", is_ready)
    assert pod["status"]["containerStatuses"][0]["started"]


async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    writer.close()


@pytest.mark.parametrize("kind", ["httpGet", "tcpSocket"])
async def test_what_somebody_else_answers_makes_no_pod_ready(cluster: Cluster, kind: str) -> None:
    # Outside of all pods, on all addresses: it answers at each pod's own, too.
    async with await asyncio.start_server(answer, "0.0.0.0") as server:
        port = server.sockets[0].getsockname()[1]
        await cluster.run("a", "sleep", "600", readinessProbe={kind: {"port": port}, **FAST})
        message = await cluster.event("a", "Unhealthy")
    assert "answered by a process that is not this pod's" in message


async def test_a_probe_of_localhost_asks_in_the_pod(cluster: Cluster) -> None:
    server = SERVER.replace('os.environ["IP"]', '"127.0.0.1"')
    probe = {"httpGet": {"host": "127.0.0.1", "port": 8080}, **FAST}
    await cluster.run("a", "python3", "-c", server, image="python:3", readinessProbe=probe)
    pod = await cluster.until("a", is_ready)
    assert pod["status"]["containerStatuses"][0]["ready"]


async def test_another_container_of_the_pod_may_answer(cluster: Cluster) -> None:
    server = {"name": "server", "image": "python:3", "command": ["python3", "-c", SERVER]}
    main = {
        "name": "main",
        "image": "busybox",
        "command": ["sleep", "600"],
        "readinessProbe": {"tcpSocket": {"port": 8080}, **FAST},
    }
    await cluster.run("a", spec={"containers": [main, {**server, "env": [IP]}]})
    pod = await cluster.until("a", is_ready)
    assert all(one["ready"] for one in pod["status"]["containerStatuses"])
