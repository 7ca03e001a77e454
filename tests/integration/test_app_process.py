"""A machine without namespaces: everything starts, says so, and pods still reach the API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import harness

PODS = "/api/v1/namespaces/default/pods"
# As a client library does: KUBECONFIG, for there is no mount.
ASK = """
import json, os, ssl, urllib.error, urllib.request
assert not os.path.exists("/var/run/secrets/kubernetes.io")
config = json.load(open(os.environ["KUBECONFIG"]))
cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
token = open(user["tokenFile"]).read()
context = ssl.create_default_context(cafile=cluster["certificate-authority"])
request = urllib.request.Request(
    cluster["server"] + "/api/v1/namespaces/default/pods",
    headers={"Authorization": "Bearer " + token},
)
try:
    urllib.request.urlopen(request, context=context)
except urllib.error.HTTPError as error:
    print(json.load(error)["message"])
"""


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[harness.Running]:
    monkeypatch.setenv("BESSEMER_RUNTIME", "process")
    with harness.bessemer(tmp_path) as one:
        yield one


def pod(name: str, **container: Any) -> dict[str, Any]:
    containers = [{"name": "main", **container}]
    return {
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "containers": containers,
            "volumes": [{"name": "own", "emptyDir": {}}],
        },
    }


def test_it_starts_and_says_that_nothing_is_isolated(running: harness.Running) -> None:
    (line,) = [line for line in running.lines if line.startswith("  runtime ")]
    doctor = harness.run("doctor", "--home", str(running.home))

    (node,) = running.get("/api/v1/nodes")["items"]
    status = harness.run("status", "--home", str(running.home))
    conditions = {each["type"]: each for each in node["status"]["conditions"]}
    told, own = conditions["bessemer.dev/Sandboxed"], conditions["bessemer.dev/OwnAddresses"]

    assert "process (no isolation: " in line
    assert (told["status"], told["reason"]) == ("False", "NoIsolation")
    assert "no isolation: BESSEMER_RUNTIME asks for that" in told["message"]
    assert (own["status"], own["reason"]) == ("False", "NotGuarded")
    assert status.code == 0
    assert "process (no isolation: " in status.out
    assert "no isolation: " in doctor.out
    assert "unset BESSEMER_RUNTIME" in doctor.out


def test_a_pod_is_known_to_the_api_as_its_account(running: harness.Running) -> None:
    running.create(PODS, pod("asks", image="python:3", command=["python3", "-c", ASK]))
    running.until(PODS, lambda pods: pods[0]["status"].get("phase") in ("Succeeded", "Failed"))

    _, log = running.request("GET", f"{PODS}/asks/log")
    assert 'User "system:serviceaccount:default:default" cannot list' in log


def test_a_volume_is_seen_below_the_home_and_nowhere_else(running: harness.Running) -> None:
    writes = ["sh", "-c", "echo here > data/it; cat /home/pod/data/it || cat data/it"]
    mount = {"name": "own", "mountPath": "/home/pod/data"}
    running.create(PODS, pod("sees", image="busybox", command=writes, volumeMounts=[mount]))
    elsewhere = {"name": "own", "mountPath": "/data"}
    running.create(PODS, pod("lost", image="busybox", command=["true"], volumeMounts=[elsewhere]))

    def is_told(pods: list[Any]) -> bool:
        seen = {each["metadata"]["name"]: each["status"] for each in pods}
        states = seen.get("lost", {}).get("containerStatuses") or [{}]
        waiting = states[0].get("state", {}).get("waiting", {})
        return seen["sees"].get("phase") == "Succeeded" and "/data" in waiting.get("message", "")

    pods = running.until(PODS, is_told)
    assert running.request("GET", f"{PODS}/sees/log")[1].endswith("here\n")
    assert len(pods) == 2
