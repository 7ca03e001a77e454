"""A pod's life by the official ``kubernetes`` client: waiting, probes, restarts, its end."""

import uuid

import psutil
import pytest

import harness
from kubernetes_session import Session

pytestmark = [
    harness.needs_sdks,
    pytest.mark.usefixtures("sandboxed"),
    pytest.mark.timeout(180),
    pytest.mark.xdist_group("kubernetes-lifecycle"),
]


def processes_with(mark: str) -> list[int]:
    """Living processes with the mark in their command line."""
    found = []
    for process in psutil.process_iter():
        try:
            if mark in process.cmdline():
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def test_how_a_container_ended_is_told(session: Session) -> None:
    assert session.play("ends") == {
        "completed": ["Succeeded", "Completed", 0],
        "error": ["Failed", "Error", 3],
        "message": "why\n",
        "hungry": ["Failed", "OOMKilled", 137],
        "killed": ["Failed", "Error", 137],
        "absent": ["Failed", "ContainerCannotRun", True],
        "names it": True,
    }


def test_why_a_container_waits_is_told(session: Session) -> None:
    told = session.play("waits")

    assert told["config"][0] == "Pending"
    assert "couldn't find key late in ConfigMap" in told["config"][1]
    assert told["then"] == "now here\n"
    assert told["image"][0] == "Pending"
    assert 'Back-off pulling image "registry.example/no/such:1"' in told["image"][1]
    assert told["events"] == ['Back-off pulling image "registry.example/no/such:1"']
    assert told["word"][0] == "Pending"
    assert "not a name" in told["word"][1]


def test_restart_policies(session: Session) -> None:
    assert session.play("restart_policies") == {
        "retried": ["Succeeded", 1],
        "good": ["Succeeded", 0],
        "never": ["Failed", 0],
        "always": ["Running", True, "Completed", 0],
        "crashes": ["Running", True, "Error", 7],
        "back-off": "back-off 10s restarting failed container=main",
        "Ready": "ContainersNotReady",
        "event": "Back-off restarting failed container main in pod crashes",
    }


def test_what_ignores_sigterm_is_killed_with_its_children(session: Session) -> None:
    mark = f"stubborn-{uuid.uuid4()}"

    told = session.play("termination", mark=mark)

    assert told == {"said": "bye\n", "events": True}
    assert processes_with(mark) == []


def test_probes_decide_readiness_start_and_restart(session: Session) -> None:
    told = session.play("probes")

    assert (told["http"], told["tcp"]) == ([True, True], [True, True])
    assert told["unready"] == "Readiness probe failed: HTTP probe failed with statuscode: 503"
    assert told["condition"] == "containers with unready status: [main]"
    assert "Container main failed liveness probe, will be restarted" in told["unhealthy"]
    assert "Container main failed startup probe, will be restarted" in told["unstarted"]


def test_readiness_that_changes_restarts_nothing(session: Session) -> None:
    assert session.play("readiness_that_changes") == {"restarts": 0, "ready": True}


def test_a_limit_holds_or_a_condition_says_that_it_does_not(session: Session) -> None:
    told = session.play("limits")

    assert told["qos"] == "Guaranteed"
    if told["cpu"] is not None:
        status, reason, message = told["cpu"]
        assert (status, reason) == ("False", "LimitNotHeld")
        assert "cpu" in message


def test_a_pod_that_does_not_fit_says_what_is_short_and_starts_later(session: Session) -> None:
    told = session.play("unschedulable")

    for name in ("waits", "greedy"):
        assert told[name]["phase"] == "Pending"
        assert told[name]["condition"] == ["False", "Unschedulable"]
        assert told[name]["same event"]
        assert "0/1 nodes are available" in told[name]["message"]
        assert "Insufficient cpu" in told[name]["message"]
    assert "Insufficient example.org/gpu" in told["greedy"]["message"]
    assert told["then"] == "True"
