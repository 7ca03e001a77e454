"""Durations of thousands of years: taken or refused as upstream does; nothing stops working."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from adversary_world import World, make_tenant, pods

pytestmark = pytest.mark.timeout(120)

HUGE = (10**12, 2**62, 2**63 - 1)
#: What the server's log says where something was not done.
_FAULTS = ("Traceback", "reconcile failed", "not advanced", "request failed", "not written")


@pytest.fixture
def tenant(world: World, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own, which has to go at the end, and nobody may have failed."""
    name = f"d{abs(hash(request.node.name)) % 10**8}"
    make_tenant(world.bessemer, name)
    begin = len(world.bessemer.lines)
    yield name
    world.bessemer.delete(f"/api/v1/namespaces/{name}")
    world.bessemer.until(
        "/api/v1/namespaces",
        lambda found: name not in [each["metadata"]["name"] for each in found],
    )
    said = world.bessemer.lines[begin:]
    assert not [line for line in said if any(fault in line for fault in _FAULTS)]


def pod(name: str, script: str = "import time; time.sleep(600)", **spec: Any) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": "python:3.11",
        "command": ["python3", "-c", script],
        **spec.pop("container", {}),
    }
    spec = {"restartPolicy": "Never", "containers": [container], **spec}
    return {"metadata": {"name": name}, "spec": spec}


@pytest.mark.parametrize("seconds", HUGE)
def test_a_pod_with_an_endless_grace_ends_when_it_ends(
    world: World, tenant: str, seconds: int
) -> None:
    running = world.bessemer
    body = pod("patient", terminationGracePeriodSeconds=seconds)
    running.create(pods(tenant), body)
    running.until(pods(tenant), lambda found: found[0]["status"].get("phase") == "Running")
    status, answer = running.request("DELETE", f"{pods(tenant)}/patient")
    assert status == 200, answer
    assert answer["metadata"]["deletionGracePeriodSeconds"] == seconds
    assert answer["metadata"]["deletionTimestamp"] == "9999-12-31T23:59:59Z"
    running.until(pods(tenant), lambda found: not found)  # SIGTERM ends it


def test_an_endless_grace_can_be_cut_short(world: World, tenant: str) -> None:
    running = world.bessemer
    deaf = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); open('/tmp/up', 'w').close(); "
        "time.sleep(600)"
    )
    probe = {
        "readinessProbe": {"exec": {"command": ["test", "-f", "/tmp/up"]}, "periodSeconds": 1}
    }
    body = pod("deaf", deaf, terminationGracePeriodSeconds=2**62, container=probe)
    running.create(pods(tenant), body)
    running.until(pods(tenant), lambda found: "'ready': True" in str(found[0]["status"]))
    assert running.request("DELETE", f"{pods(tenant)}/deaf")[0] == 200
    status, answer = running.request("DELETE", f"{pods(tenant)}/deaf?gracePeriodSeconds=1")
    assert status == 200, answer
    assert answer["metadata"]["deletionGracePeriodSeconds"] == 1
    running.until(pods(tenant), lambda found: not found)


@pytest.mark.parametrize("seconds", HUGE)
def test_jobs_with_endless_times_are_done_and_go(world: World, tenant: str, seconds: int) -> None:
    running, jobs = world.bessemer, f"/apis/batch/v1/namespaces/{tenant}/jobs"
    template = {"spec": pod("x", "pass")["spec"]}
    running.create(
        jobs,
        {
            "metadata": {"name": "slow"},
            "spec": {"activeDeadlineSeconds": seconds, "template": template},
        },
    )
    most = {"ttlSecondsAfterFinished": 2**31 - 1, "backoffLimit": 2**31 - 1, "template": template}
    running.create(jobs, {"metadata": {"name": "kept"}, "spec": most})

    def done(found: list[Any]) -> bool:
        return len(found) == 2 and all(each["status"].get("succeeded") for each in found)

    found = running.until(jobs, done)
    assert {each["metadata"]["name"] for each in found} == {"slow", "kept"}


@pytest.mark.parametrize(
    "field",
    ["periodSeconds", "timeoutSeconds", "initialDelaySeconds", "successThreshold",
     "failureThreshold"],
)  # fmt: skip
def test_probes_hold_what_32_bits_hold(world: World, tenant: str, field: str) -> None:
    for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
        value = 1 if field == "successThreshold" and kind != "readinessProbe" else 2**31 - 1
        for number, code in ((2**31, 400), (2**62, 400), (value, 201)):
            probe = {"exec": {"command": ["true"]}, field: number}
            name = f"{kind.lower()}-{number % 97}"
            status, answer = world.bessemer.request(
                "POST", pods(tenant), pod(name, container={kind: probe})
            )
            assert status == code, answer
            if code == 400:
                assert f"number {number} into Go struct field" in answer["message"]


@pytest.mark.parametrize("seconds", HUGE)
def test_a_probe_may_bring_an_endless_grace(world: World, tenant: str, seconds: int) -> None:
    probe = {
        "exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1,
        "terminationGracePeriodSeconds": seconds,
    }  # fmt: skip
    running = world.bessemer
    running.create(pods(tenant), pod("sick", container={"livenessProbe": probe}))
    found = running.until(pods(tenant), lambda found: found[0]["status"].get("phase") == "Failed")
    assert [each["metadata"]["name"] for each in found] == ["sick"]


def test_what_upstream_refuses_is_refused(world: World, tenant: str) -> None:
    token = {"serviceAccountToken": {"path": "t", "expirationSeconds": 2**32 + 1}}
    volumes = [{"name": "v", "projected": {"sources": [token]}}]
    accounts = f"/api/v1/namespaces/{tenant}/serviceaccounts/editor/token"
    lease = {"metadata": {"name": "l"}, "spec": {"leaseDurationSeconds": 2**40}}
    cases: list[tuple[str, dict[str, Any], int, str]] = [
        (pods(tenant), pod("a", volumes=volumes), 422, "larger than 2^32 seconds"),
        (pods(tenant), pod("b", activeDeadlineSeconds=2**31), 422, "between 1 and 2147483647"),
        (pods(tenant), pod("c", terminationGracePeriodSeconds=2**63), 400, "of type int64"),
        (accounts, {"spec": {"expirationSeconds": 2**33}}, 422, "2^32 seconds"),
        (f"/apis/coordination.k8s.io/v1/namespaces/{tenant}/leases", lease, 400, "of type int32"),
    ]
    for path, body, code, words in cases:
        status, answer = world.bessemer.request("POST", path, body)
        assert (status, words in json.dumps(answer)) == (code, True), answer


@pytest.mark.parametrize("seconds", [2**32, 10**9])
def test_a_projected_token_of_an_age_is_made(world: World, tenant: str, seconds: int) -> None:
    token = {"serviceAccountToken": {"path": "t", "expirationSeconds": seconds}}
    volumes = [{"name": "v", "projected": {"sources": [token]}}]
    container = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    running = world.bessemer
    body = pod("t", "print(len(open('/v/t').read()) > 99)", volumes=volumes, container=container)
    running.create(pods(tenant), body)
    done = ("Succeeded", "Failed")
    found = running.until(pods(tenant), lambda found: found[0]["status"].get("phase") in done)
    assert found[0]["status"]["phase"] == "Succeeded"
    assert running.get(f"{pods(tenant)}/t/log") == "True\n"


@pytest.mark.parametrize(
    ("query", "code"),
    [(f"timeoutSeconds={2**62}", 200), (f"limit={2**62}", 200), (f"limit={2**63}", 400),
     (f"limit={'9' * 5000}", 400), (f"watch=1&timeoutSeconds={2**63}", 400)],
)  # fmt: skip
def test_parameters_hold_what_64_bits_hold(
    world: World, tenant: str, query: str, code: int
) -> None:
    status, answer = world.bessemer.request("GET", f"{pods(tenant)}?{query}")
    assert status == code, answer


@pytest.mark.parametrize("seconds", [*HUGE, 2**64, -(2**62)])
def test_deletions_with_any_grace_are_answered(world: World, tenant: str, seconds: int) -> None:
    running = world.bessemer
    running.create(pods(tenant), pod("x"))
    running.until(pods(tenant), lambda found: found[0]["status"].get("phase") == "Running")
    status, answer = running.request("DELETE", f"{pods(tenant)}/x?gracePeriodSeconds={seconds}")
    assert status in (200, 400), answer
    status, answer = running.request(
        "DELETE", f"{pods(tenant)}/x", {"kind": "DeleteOptions", "gracePeriodSeconds": seconds}
    )
    assert status in (200, 400, 404), answer
