"""The worst objects that are taken: they stop nothing, and no start after a crash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest

import harness
from harness import Running

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("adversary-requests")]

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
#: Bytes of the control plane; before its bounds it was 21.9 GB with the first pod alone.
MOST_MEMORY = 600 << 20


def pod(name: str, **fields: Any) -> dict[str, Any]:
    volumes = fields.pop("volumes", [])
    container = {"name": "main", "image": "busybox", "command": ["true"], **fields}
    spec = {"restartPolicy": "Never", "containers": [container], "volumes": volumes}
    return {"metadata": {"name": name}, "spec": spec}


def doubled() -> list[dict[str, str]]:
    first = [{"name": "E0", "value": "x" * 1000}]
    return first + [
        {"name": f"E{number}", "value": f"$(E{number - 1})$(E{number - 1})"}
        for number in range(1, 200)
    ]


def refer(key: str) -> dict[str, Any]:
    return {"configMapKeyRef": {"name": "big", "key": key}}


def write_the_worst(running: Running) -> None:
    big = {"k": "x" * 1_000_000}
    running.create(MAPS, {"metadata": {"name": "big"}, "data": big})
    wide = {str(number): "" for number in range(200_000)}
    running.create(MAPS, {"metadata": {"name": "wide"}, "data": wide})
    owners = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": f"o{number}", "uid": f"u{number}"}
        for number in range(10_000)
    ]
    running.create(MAPS, {"metadata": {"name": "owned", "ownerReferences": owners}})
    running.create(PODS, pod("doubles", env=doubled()))
    again = [{"name": f"V{number}", "valueFrom": refer("k")} for number in range(20_000)]
    running.create(PODS, pod("takes-again", env=again))
    running.create(PODS, pod("opens", args=["$(" * 500_000]))
    mounts = [{"name": "v", "mountPath": "/v"}]
    volumes = [{"name": "v", "configMap": {"name": "wide"}}]
    running.create(PODS, pod("mounts", volumeMounts=mounts, volumes=volumes))


def told(pods: list[Any]) -> dict[str, str]:
    """Why each pod's container waits, by the pod's name."""
    found = {}
    for each in pods:
        for status in each.get("status", {}).get("containerStatuses", ()):
            waiting = status["state"].get("waiting", {})
            if waiting.get("reason") == "CreateContainerConfigError":
                found[each["metadata"]["name"]] = waiting.get("message", "")
    return found


def test_the_worst_objects_keep_no_server_down(tmp_path: Path) -> None:
    with harness.bessemer(tmp_path) as running:
        write_the_worst(running)

        def are_told(pods: list[Any]) -> bool:
            known = told(pods)
            return "variable E13 has 8192000 characters" in known.get(
                "doubles", ""
            ) and "may have 8388608 together" in known.get("takes-again", "")

        running.until(PODS, are_told)
        running.kill9()
        running.restart()

        # What is taken after the start is taken by a server that looks after the others.
        running.create(PODS, pod("newcomer"))
        running.until(PODS, lambda pods: are_told(pods) and is_done("newcomer", pods))
        assert psutil.Process(running.pid).memory_info().rss < MOST_MEMORY


def is_done(name: str, pods: list[Any]) -> bool:
    phases = {each["metadata"]["name"]: each.get("status", {}).get("phase") for each in pods}
    return phases.get(name) == "Succeeded"
