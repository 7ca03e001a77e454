"""A real Bessemer: it starts, is killed, adopts, ends; what is left afterwards."""

from __future__ import annotations

import contextlib
import functools
import http.client
import signal
import ssl
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psutil
import pytest

import harness

PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[harness.Running]:
    with harness.bessemer(tmp_path) as one:
        yield one


def sleeper(name: str, seconds: int = 600) -> dict[str, Any]:
    container = {"name": "main", "image": "busybox", "command": ["sleep", str(seconds)]}
    return {"metadata": {"name": name}, "spec": {"containers": [container]}}


def are_running(count: int) -> Any:
    def holds(pods: list[Any]) -> bool:
        phases = [pod["status"].get("phase") for pod in pods]
        return phases.count("Running") == count

    return holds


def test_it_ends_everything_that_it_started(running: harness.Running) -> None:
    running.create(PODS, sleeper("a"))
    running.until(PODS, are_running(1))
    assert running.pod_pids()

    assert running.stop(signal.SIGINT) == 0

    assert running.processes() == []
    assert running.pod_pids() == {}


def test_pods_outlive_a_crash_and_are_adopted(running: harness.Running) -> None:
    running.create(PODS, sleeper("a"))
    running.until(PODS, are_running(1))
    before = running.pod_pids()

    running.kill9()
    assert set(before.values()) <= set(running.processes())
    running.restart()

    assert running.pod_pids() == before
    (pod,) = running.until(PODS, are_running(1))
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0


def test_what_always_restarts_comes_back_after_an_orderly_end(running: harness.Running) -> None:
    running.create(PODS, sleeper("a"))
    (first,) = running.until(PODS, are_running(1))

    running.stop()
    running.restart()

    def is_back(pods: list[Any]) -> bool:
        statuses = pods[0]["status"]["containerStatuses"]
        return bool("running" in statuses[0]["state"] and statuses[0]["restartCount"])

    (again,) = running.until(PODS, is_back)
    assert again["metadata"]["uid"] == first["metadata"]["uid"]


def test_each_orderly_end_is_one_restart(running: harness.Running) -> None:
    running.create(PODS, sleeper("a"))
    running.until(PODS, are_running(1))

    for number in (1, 2, 3):
        running.stop()
        running.restart()
        (pod,) = running.until(PODS, functools.partial(is_live, restarts=number))
        assert pod["metadata"]["name"] == "a"


def is_live(pods: list[Any], *, restarts: int) -> bool:
    (status,) = pods[0]["status"].get("containerStatuses") or [{}]
    return "running" in status.get("state", {}) and status["restartCount"] == restarts


def test_a_step_that_was_interrupted_is_run_again(running: harness.Running) -> None:
    """A pod that never restarts on its own was ended by us, not by itself."""
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    running.create(
        "/api/v1/namespaces/default/persistentvolumeclaims",
        {"metadata": {"name": "out"}, "spec": claim},
    )
    container = {
        "name": "main",
        "image": "busybox",
        "command": ["sh", "-c", "echo once >> /out/marks; test -e /out/go || exec sleep 600"],
        "volumeMounts": [{"name": "out", "mountPath": "/out"}],
    }
    spec = {
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [{"name": "out", "persistentVolumeClaim": {"claimName": "out"}}],
    }
    running.create(PODS, {"metadata": {"name": "step"}, "spec": spec})
    running.until(PODS, are_running(1))

    running.stop()
    folder = running.home / "volumes" / "default" / "out"
    (folder / "go").touch()
    running.restart()

    running.until(PODS, lambda pods: pods[0]["status"].get("phase") == "Succeeded")
    assert (folder / "marks").read_text() == "once\nonce\n"


def test_ports_and_keys_stay_across_restarts(tmp_path: Path) -> None:
    with harness.bessemer(tmp_path) as one:
        kubeconfig, token = one.kubeconfig.read_text(), one.token
        one.stop()
        told = harness.run("status", "--home", str(one.home))
        assert told.code == 1
        assert told.err.count("\n") == 1
        one.restart()

        assert one.kubeconfig.read_text() == kubeconfig
        assert one.token == token
        assert one.kubeconfig.stat().st_mode & 0o777 == 0o600
        assert one.home.stat().st_mode & 0o777 == 0o700


def test_all_that_listens_listens_on_loopback(running: harness.Running) -> None:
    found = [
        connection.laddr
        for pid in running.processes()
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]

    assert {address.port for address in found} >= {running.port + offset for offset in range(3)}
    assert [address for address in found if not ip_address(address.ip).is_loopback] == []


def test_two_homes_do_not_see_each_other(tmp_path: Path) -> None:
    with (
        harness.bessemer(tmp_path / "one") as one,
        harness.bessemer(tmp_path / "two") as two,
    ):
        one.create(PODS, sleeper("a"))
        one.until(PODS, are_running(1))

        assert two.get(PODS)["items"] == []
        assert two.request("GET", PODS, token=one.token)[0] == 401
        two.stop()
        assert one.get(PODS)["items"][0]["status"]["phase"] == "Running"
        assert one.pod_pids()


def test_what_users_do_every_day_leaves_nothing_in_the_log(running: harness.Running) -> None:
    """Deletions, a namespace's end, an exec that is not served: told to who asked, not here."""
    said = len(running.lines)
    running.create("/api/v1/namespaces", {"metadata": {"name": "team"}})
    deployments = "/apis/apps/v1/namespaces/{}/deployments"
    labels = {"app": "web"}
    container = {"name": "main", "image": "busybox", "command": ["sleep", "600"]}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }
    web = {
        "metadata": {"name": "web"},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template},
    }
    job = {"metadata": {"name": "job"}, "spec": {"template": {"spec": {
        "containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
    }}}}  # fmt: skip
    for namespace in ("default", "team"):
        running.create(deployments.format(namespace), web)
        running.create(f"/apis/batch/v1/namespaces/{namespace}/jobs", job)
        running.until(f"/api/v1/namespaces/{namespace}/pods", are_running(3))
    pod = running.get(PODS)["items"][0]["metadata"]["name"]

    status, answer = upgrade(running, f"{PODS}/{pod}/exec?command=true")
    assert (status, "exec is not served" in answer) == (400, True)
    running.delete(deployments.format("default") + "/web")
    background = {"propagationPolicy": "Background"}
    path = "/apis/batch/v1/namespaces/default/jobs/job"
    assert running.request("DELETE", path, background)[0] == 200
    running.delete("/api/v1/namespaces/team")

    running.until(PODS, lambda pods: not pods)
    running.until(
        "/api/v1/namespaces", lambda found: "team" not in {o["metadata"]["name"] for o in found}
    )
    running.stop()
    assert running.lines[said:] == ["ending: pods get time to finish their work"]


def upgrade(running: harness.Running, path: str) -> tuple[int, str]:
    """Ask for a WebSocket."""
    context = ssl.create_default_context(cafile=str(running.ca))
    connection = http.client.HTTPSConnection(
        harness.HOST, running.port, timeout=30, context=context
    )
    headers = {
        "Authorization": f"Bearer {running.token}",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
