"""Volumes: what one claim held is in no other, whoever is killed when; what is in use stays."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import harness
from adversary_world import World, open_world, pods, wait_until

pytestmark = pytest.mark.timeout(180)

_SPEC = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}


def claims(tenant: str) -> str:
    return f"/api/v1/namespaces/{tenant}/persistentvolumeclaims"


def make(world: World, name: str, tenant: str = "a") -> None:
    status, answer = world.ask(
        "POST", claims(tenant), {"metadata": {"name": name}, "spec": _SPEC}, tenant=tenant
    )
    assert status == 201, answer


def volume(name: str, **more: Any) -> dict[str, Any]:
    return {
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": name}}],
        "container": {"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
        **more,
    }


_FILL = """
import os
for folder in range(40):
    os.mkdir(f'/v/{folder}')
    for file in range(200):
        open(f'/v/{folder}/{file}', 'w').write('secret')
"""


def test_a_claim_deleted_before_a_kill_shows_up_nowhere(tmp_path: Path, kind: str) -> None:
    with open_world(tmp_path, kind) as world:
        running = world.bessemer
        make(world, "big", "b")
        assert world.run("fill", _FILL, tenant="b", **volume("big"))[0] == "Succeeded"
        running.delete(f"{claims('b')}/big")
        running.kill9()
        running.restart()
        running.delete("/api/v1/namespaces/b")
        running.until("/api/v1/namespaces", lambda found: "b" not in _names(found))
        running.create("/api/v1/namespaces", {"metadata": {"name": "b"}})
        running.create(claims("b"), {"metadata": {"name": "big"}, "spec": _SPEC})
        pod = harness_pod("reader", "import os; print(os.listdir('/v'))", "big")
        running.create(pods("b"), pod)
        assert world.wait("reader", tenant="b") == ("Succeeded", "[]\n")
        # The claims of both tenants' names: one folder, empty.
        wait_until(lambda: len(list((running.home / "volumes" / ".claims").iterdir())) == 1)
        assert not [name for _, _, names in os.walk(running.home / "volumes") for name in names]


def _names(found: list[Any]) -> list[str]:
    return [each["metadata"]["name"] for each in found]


def harness_pod(name: str, script: str, claim: str) -> dict[str, Any]:
    parts = volume(claim)
    container = {"name": "main", "image": "python:3.11", "command": ["python3", "-c", script]}
    return {
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{**container, **parts["container"]}],
            "volumes": parts["volumes"],
        },
    }


def test_a_claim_in_use_stays_until_its_pod_is_over(world: World) -> None:
    make(world, "used")
    script = (
        "import os, time\nprint('up', flush=True)\n"
        "while not os.path.exists('/v/stop'): time.sleep(0.02)\n"
        "print(sorted(os.listdir('/v')))\n"
    )
    world.start("user", f"open('/v/kept', 'w').close()\n{script}", **volume("used"))
    path = f"{claims('a')}/used"
    query = f"{pods('a')}?fieldSelector=metadata.name%3D"
    world.bessemer.until(f"{query}user", lambda found: _phase(found) == "Running")
    assert world.ask("DELETE", path)[0] == 200
    status, claim = world.ask("GET", path)
    assert status == 200
    assert claim["metadata"]["deletionTimestamp"]
    assert claim["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    assert claim["status"]["phase"] == "Bound"

    # A pod that comes now gets no node, and is told why.
    world.start("late", "print('ran')", **volume("used"))
    (late,) = world.bessemer.until(f"{query}late", lambda found: _conditions(found))
    assert 'persistentvolumeclaim "used" is being deleted' in str(late["status"]["conditions"])
    assert "nodeName" not in late["spec"]
    world.bessemer.delete(f"{pods('a')}/late?gracePeriodSeconds=0")

    folder = world.bessemer.home / "volumes" / "a" / "used"
    (folder / "stop").touch()
    assert world.wait("user") == ("Succeeded", "up\n['kept', 'stop']\n")
    world.bessemer.until(claims("a"), lambda found: "used" not in _names(found))
    world.bessemer.delete(f"{pods('a')}/user?gracePeriodSeconds=0")


def _phase(found: list[Any]) -> str:
    return found[0]["status"].get("phase", "") if found else ""


def _conditions(found: list[Any]) -> list[Any]:
    return found[0].get("status", {}).get("conditions", []) if found else []


def test_a_namespace_with_a_claim_in_use_goes(world: World) -> None:
    running: harness.Running = world.bessemer
    running.create("/api/v1/namespaces", {"metadata": {"name": "short"}})
    running.create(claims("short"), {"metadata": {"name": "used"}, "spec": _SPEC})
    pod = harness_pod("user", "import time; time.sleep(600)", "used")
    pod["spec"]["terminationGracePeriodSeconds"] = 0
    running.create(pods("short"), pod)
    running.until(pods("short"), lambda found: _phase(found) == "Running")
    running.delete("/api/v1/namespaces/short")
    running.until("/api/v1/namespaces", lambda found: "short" not in _names(found))
    assert running.request("GET", f"{claims('short')}/used")[0] == 404


def test_a_claims_protection_survives_a_kill(tmp_path: Path, kind: str) -> None:
    with open_world(tmp_path, kind) as world:
        running = world.bessemer
        make(world, "used")
        world.start("user", "import time; time.sleep(600)", **volume("used"))
        running.until(pods("a"), lambda found: _phase(found) == "Running")
        assert world.ask("DELETE", f"{claims('a')}/used")[0] == 200
        running.kill9()
        running.restart()
        assert world.ask("GET", f"{claims('a')}/used")[0] == 200
        running.delete(f"{pods('a')}/user?gracePeriodSeconds=0")
        running.until(claims("a"), lambda found: "used" not in _names(found))
