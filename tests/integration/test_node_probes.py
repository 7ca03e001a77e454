"""Probes against real servers in pods."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bessemer.resources import meta
from bessemer.resources.kind import Object
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


async def test_readiness_waits_for_the_startup_probe(cluster: Cluster) -> None:
    startup = {"exec": {"command": ["test", "-e", "/tmp/up"]}, "failureThreshold": 20, **FAST}
    await cluster.run("a", "sh", "-c", "sleep 1.2; touch /tmp/up; sleep 60", startupProbe=startup)
    first = await cluster.phase("a", "Running")
    assert not first["status"]["containerStatuses"][0]["started"]
    pod = await cluster.until("a", is_ready)
    assert pod["status"]["containerStatuses"][0]["started"]
