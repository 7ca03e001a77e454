"""Runs that are broken from outside or by their data: they end FAILED and say why."""

import json
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest

import harness

CLIENTS = Path(__file__).parent / "clients"
PODS = "/api/v1/namespaces/kubeflow/pods"

pytestmark = [
    harness.needs_sdks,
    pytest.mark.timeout(400),
    pytest.mark.xdist_group("broken-runs"),
]


def is_running_step(pod: dict[str, Any]) -> bool:
    is_it = pod["metadata"]["name"].startswith("stubborn")
    return is_it and pod.get("status", {}).get("phase") == "Running"


def test_data_that_fails_its_check_fails_the_run_and_the_exit_task_tells(
    bessemer: harness.Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where it writes its package
    told = bessemer.tell(CLIENTS / "broken_data.py", timeout=350)

    assert told["state"] == "FAILED"
    assert "check" in told["error"]
    assert told["tasks"]["load"] == "SUCCEEDED"
    assert told["tasks"]["check"] == "FAILED"
    assert told["tasks"]["tell"] == "SUCCEEDED"
    assert "fit" not in told["tasks"] or told["tasks"]["fit"] != "SUCCEEDED"
    _, text = bessemer.request("GET", f"{PODS}/{told['told']}/log")
    assert "the run ended FAILED" in text
    isvcs = "/apis/serving.kserve.io/v1beta1/namespaces/kubeflow/inferenceservices"
    assert bessemer.get(isvcs)["items"] == []


def test_a_step_whose_supervisor_is_killed_is_lost_and_the_run_says_so(
    bessemer: harness.Running,
) -> None:
    with subprocess.Popen(
        [harness.SDKS, CLIENTS / "faulty.py", "stubborn", json.dumps({"mark": "supervised"})],
        env=bessemer.env(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
    ) as client:  # fmt: skip
        pods = bessemer.until(PODS, lambda pods: any(is_running_step(pod) for pod in pods))
        (pod,) = [pod for pod in pods if is_running_step(pod)]
        uid, run_id = pod["metadata"]["uid"], pod["metadata"]["labels"]["pipeline/runid"]
        (pid,) = [pid for folder, pid in bessemer.pod_pids().items() if uid in folder]
        program = psutil.Process(pid)
        supervisor = program.parent()
        assert supervisor is not None
        family = [program, *program.children(recursive=True), supervisor]

        supervisor.kill()

        pods = bessemer.until(
            f"{PODS}?fieldSelector=metadata.name%3D{pod['metadata']['name']}",
            lambda pods: not pods or pods[0]["status"]["phase"] == "Failed",
        )
        _, left = psutil.wait_procs(family, 30)
        client.kill()
    assert left == []
    if pods:
        state = pods[0]["status"]["containerStatuses"][0]["state"]["terminated"]
        assert (state["exitCode"], state["reason"]) == (137, "ContainerStatusUnknown")
    run = ended(bessemer, run_id)
    assert run["state"] == "FAILED"
    assert "ContainerStatusUnknown" in run["error"]["message"]
    assert "nobody saw its end" in run["error"]["message"]


WAIT = """
import kfp, json, sys
run = kfp.Client().wait_for_run_completion(sys.argv[1], timeout=120, sleep_duration=1)
print(json.dumps({"state": run.state, "error": {"message": run.error and run.error.message}}))
"""


def ended(bessemer: harness.Running, run_id: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(bessemer.client(WAIT, run_id).strip().splitlines()[-1])
    return told
