"""The disk fills up while a step runs: what was said stays, and all goes on when there is room."""

import contextlib
import itertools
import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import harness
from kubernetes_session import CLIENTS

pytestmark = [
    harness.needs_sdks,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("kubernetes-full-disk"),
]

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/kubeflow/pods"
RUNS = "/apis/v2beta1/runs"
ASK_SECONDS = 90.0


class Steps:
    """Who the steps of a run ask whether they may go on."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(ASK_SECONDS)
        self.asked: list[str] = []
        self._answering: threading.Thread | None = None

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    def wait(self) -> socket.socket:
        """The next step that asks."""
        line, _ = self._socket.accept()
        line.settimeout(ASK_SECONDS)
        with line.makefile() as words:
            self.asked.append(words.readline().strip())
        return line

    def let_all_go(self) -> None:
        """From now on every step that asks may go on."""
        self._answering = threading.Thread(target=self._answer)
        self._answering.start()

    def _answer(self) -> None:
        with contextlib.suppress(OSError):  # nobody asks for long, or it is closed
            while True:
                go(self.wait())

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept
        self._socket.close()
        if self._answering:
            self._answering.join()


def go(step: socket.socket) -> None:
    """Let it end."""
    with step:
        step.sendall(b"go\n")


@pytest.fixture
def steps() -> Iterator[Steps]:
    with contextlib.closing(Steps()) as opened:
        yield opened


def submit(running: harness.Running, steps: Steps) -> subprocess.Popen[str]:
    command = [str(harness.SDKS), str(CLIENTS / "waiting_steps.py"), str(steps.port)]
    return subprocess.Popen(command, env=running.env(), text=True, stdout=subprocess.PIPE)


def next_answer(client: subprocess.Popen[str]) -> dict[str, Any]:
    """The next JSON line that the client prints, among what kfp prints."""
    assert client.stdout is not None
    line = next(line for line in client.stdout if line.startswith("{"))
    answer: dict[str, Any] = json.loads(line)
    return answer


def is_running(pods: list[Any]) -> bool:
    return any(pod.get("status", {}).get("phase") == "Running" for pod in pods)


def processes_of(running: harness.Running, pods: list[Any]) -> list[psutil.Process]:
    """The first process of each running container of the pods."""
    uids = [pod["metadata"]["uid"] for pod in pods]
    found = running.pod_pids().items()
    return [psutil.Process(pid) for path, pid in found if any(uid in path for uid in uids)]


def is_of_a_pod(line: str) -> bool:
    """Whether it says that a status could not be written, or could again."""
    return "pod status " in line and " pod=step-" in line


def write(running: harness.Running, number: int) -> int:
    body = {"metadata": {"name": f"n{number}"}, "data": {"a": "x" * 900_000}}
    status, answer = running.request("POST", CONFIG_MAPS, body)
    assert status == 201 or "disk is full" in answer["message"]
    return status


def test_a_run_whose_step_runs_while_the_disk_fills_up(small_disk: Path, steps: Steps) -> None:
    with harness.bessemer(small_disk) as running:
        with submit(running, steps) as client:
            run_id = next_answer(client)["run_id"]
            step = steps.wait()
            pods = running.until(PODS, is_running)
            (process,) = processes_of(running, pods)
            harness.fill_disk(small_disk / "ballast")
            answers = {f"n{number}": write(running, number) for number in range(12)}
            assert answers["n11"] == 503
            go(step)
            psutil.wait_procs([process], ASK_SECONDS)  # its end can't be written down
            assert running.get(f"{RUNS}/{run_id}")["run_id"] == run_id
            (small_disk / "ballast").unlink()
            steps.let_all_go()
            told = next_answer(client)

        assert told["state"] in ("SUCCEEDED", "FAILED")
        assert bool(told["error"]) == (told["state"] == "FAILED")
        assert len(steps.asked) == len(set(steps.asked))  # no step began twice
        lines = [line for line in running.lines if "objects not stored" in line]
        assert lines
        assert all("disk is full" in line for line in lines)
        assert not [line for line in running.lines if "Traceback" in line]
        waited = [line.partition("pod status ")[2] for line in running.lines if is_of_a_pod(line)]
        assert all(one != two for one, two in itertools.pairwise(waited))  # each reason once
        assert not waited or waited[-1].startswith("written again ")

        with submit(running, steps) as client:  # it lives on
            assert next_answer(client)["run_id"] != run_id
            assert next_answer(client)["state"] == "SUCCEEDED"
        running.kill9()
        running.restart()
        assert running.get(f"{RUNS}/{run_id}")["state"] == told["state"]
        stored = {found["metadata"]["name"] for found in running.get(CONFIG_MAPS)["items"]}
        accepted = {name for name, status in answers.items() if status == 201}
        assert stored - {"kube-root-ca.crt"} == accepted
