"""Components that misbehave: the run ends with the right state and reason, logs complete."""

import json
import subprocess
import uuid
from pathlib import Path
from typing import Any

import psutil
import pytest

import harness

CLIENT = Path(__file__).parent / "clients" / "faulty.py"
PODS = "/api/v1/namespaces/kubeflow/pods"

pytestmark = [
    harness.needs_sdks,
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("faulty-components"),
]


def run(bessemer: harness.Running, name: str, **arguments: Any) -> dict[str, Any]:
    """What the client tells of a run of one such component."""
    told: dict[str, Any] = bessemer.tell(CLIENT, name, json.dumps(arguments), timeout=200)
    return told


def log_of(bessemer: harness.Running, told: dict[str, Any], task: str) -> str:
    """The task's log, as kubectl would read it."""
    status, text = bessemer.request("GET", f"{PODS}/{told['tasks'][task]['pod']}/log")
    assert status == 200, text
    return str(text)


def runs_stubborn(pod: dict[str, Any]) -> bool:
    """Whether it is the running pod of that component."""
    is_it = pod["metadata"]["name"].startswith("stubborn")
    return is_it and pod.get("status", {}).get("phase") == "Running"


def processes_with(mark: str) -> list[int]:
    """Living processes with the mark in their command line."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(mark in word for word in process.cmdline()):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def test_a_declared_output_that_is_not_written_fails_the_run_and_is_named(
    bessemer: harness.Running,
) -> None:
    told = run(bessemer, "no_output")

    assert told["state"] == "FAILED"
    assert "text" in told["tasks"]["no-output"]["error"]
    assert log_of(bessemer, told, "no-output") == "bye\n"


def test_the_last_of_100_mb_of_output_is_in_the_log(bessemer: harness.Running) -> None:
    told = run(bessemer, "loud", megabytes=100)

    assert told["state"] == "SUCCEEDED"
    text = log_of(bessemer, told, "loud")
    # Five files of 10 MiB are kept, of which the last is being filled: as the kubelet does.
    assert 40 * 1024 <= text.count("x" * 1023 + "\n") <= 50 * 1024
    assert "\nthe end\n" in text


def test_children_that_a_component_leaves_behind_are_ended(bessemer: harness.Running) -> None:
    mark = f"left-behind-{uuid.uuid4()}"

    told = run(bessemer, "forks", mark=mark)

    assert told["state"] == "SUCCEEDED"
    assert log_of(bessemer, told, "forks").count("child is up\n") == 3
    assert processes_with(mark) == []


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [("killed", {}, "137"), ("exits", {"code": 137}, "137"), ("exits", {"code": 3}, "3")],
)
def test_how_a_component_ended_is_told(
    bessemer: harness.Running, name: str, arguments: dict[str, int], expected: str
) -> None:
    told = run(bessemer, name, **arguments)

    assert told["state"] == "FAILED"
    assert expected in told["tasks"][name]["error"]
    assert told["error"]
    if name == "exits":
        assert "last words" in log_of(bessemer, told, name)


def test_a_component_that_ignores_sigterm_is_ended_when_its_run_is_terminated(
    bessemer: harness.Running,
) -> None:
    client = subprocess.Popen(
        [harness.SDKS, CLIENT, "stubborn", json.dumps({"mark": "unmoved"})],
        env=bessemer.env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with client:
        assert client.stdin is not None
        assert client.stdout is not None
        pods = bessemer.until(PODS, lambda pods: any(runs_stubborn(pod) for pod in pods))
        (uid,) = [pod["metadata"]["uid"] for pod in pods if runs_stubborn(pod)]
        assert [folder for folder in bessemer.pod_pids() if uid in folder]
        client.stdin.write("now\n")
        client.stdin.flush()
        told = json.loads(client.stdout.read().strip().splitlines()[-1])

    assert told["state"] == "FAILED"
    assert "terminated" in told["error"]
    assert [folder for folder in bessemer.pod_pids() if uid in folder] == []
