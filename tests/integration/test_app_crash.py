"""kill -9 at seeded moments while pods, a Deployment and Jobs are at work: nothing is lost."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import harness

PODS = "/api/v1/namespaces/default/pods"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
JOBS = "/apis/batch/v1/namespaces/default/jobs"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
SEED = 20261123
PEOPLE = 5  # pods that run all the time
# Appends a line when it starts and one when it ends: what ran twice shows.
STEP = 'echo began >> "$OUT/$NAME"; sleep 0.2; echo ended >> "$OUT/$NAME"'


def container(*command: str, **parts: Any) -> dict[str, Any]:
    return {"name": "main", "image": "busybox", "command": list(command), **parts}


def claim(name: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }


def job(name: str) -> dict[str, Any]:
    """Three steps, two at a time, each leaving its marks in the claim."""
    main = container(
        "sh",
        "-c",
        STEP,
        env=[
            {"name": "OUT", "value": "/out"},
            {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        volumeMounts=[{"name": "out", "mountPath": "/out"}],
    )
    volume = {"name": "out", "persistentVolumeClaim": {"claimName": "marks"}}
    pod = {"restartPolicy": "Never", "containers": [main], "volumes": [volume]}
    return {
        "metadata": {"name": name},
        "spec": {"completions": 3, "parallelism": 2, "backoffLimit": 0, "template": {"spec": pod}},
    }


def deployment(replicas: int) -> dict[str, Any]:
    template = {
        "metadata": {"labels": {"app": "d"}},
        "spec": {"containers": [container("sleep", "600")]},
    }
    selector = {"matchLabels": {"app": "d"}}
    spec = {"replicas": replicas, "selector": selector, "template": template}
    return {"metadata": {"name": "d"}, "spec": spec}


class Writer:
    """Writes ConfigMaps for as long as the API answers, and remembers what was acknowledged."""

    def __init__(self, running: harness.Running) -> None:
        self._running = running
        self._number = 0
        self._stop = threading.Event()
        self.acknowledged: set[str] = set()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def _write(self) -> None:
        while not self._stop.is_set():
            name = f"c{self._number}"
            self._number += 1
            try:
                status, _ = self._running.request(
                    "POST", CONFIG_MAPS, {"metadata": {"name": name}}
                )
            except OSError:
                self._stop.wait(0.02)
                continue
            except Exception:  # noqa: BLE001 - cut off in the middle of an answer: not acknowledged
                continue
            if status == 201:
                self.acknowledged.add(name)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[harness.Running]:
    with harness.bessemer(tmp_path) as one:
        one.create("/api/v1/namespaces/default/persistentvolumeclaims", claim("marks"))
        for number in range(PEOPLE):
            pod = {"containers": [container("sleep", "600")]}
            one.create(PODS, {"metadata": {"name": f"p{number}"}, "spec": pod})
        one.create(DEPLOYMENTS, deployment(2))
        one.until(PODS, lambda pods: count_running(pods) == PEOPLE + 2)
        yield one


def count_running(pods: list[Any]) -> int:
    return sum(pod["status"].get("phase") == "Running" for pod in pods)


def long_lived(running: harness.Running) -> dict[str, int]:
    """The pids of the pods that never end, by pod and attempt."""
    uids = {
        pod["metadata"]["uid"]: pod["metadata"]["name"]
        for pod in running.get(PODS)["items"]
        if "job-name" not in pod["metadata"].get("labels", {})
    }
    return {
        folder: pid for folder, pid in running.pod_pids().items() if folder.split("/")[1] in uids
    }


def is_complete(jobs: list[Any]) -> bool:
    return all(
        any(
            entry["type"] == "Complete" and entry["status"] == "True"
            for entry in job_["status"].get("conditions", ())
        )
        for job_ in jobs
    )


@pytest.mark.timeout(240)
def test_ten_kills_lose_nothing_and_run_nothing_twice(running: harness.Running) -> None:
    chance = random.Random(SEED)
    before = long_lived(running)
    writer = Writer(running)
    pause = threading.Event()
    for number in range(10):
        running.create(JOBS, job(f"j{number}"))
        pause.wait(chance.uniform(0.0, 0.5))
        running.kill9()
        running.restart()
    jobs = running.until(JOBS, lambda found: len(found) == 10 and is_complete(found))
    writer.stop()

    assert long_lived(running) == before
    assert [entry["status"]["succeeded"] for entry in jobs] == [3] * 10
    marks = list((running.home / "volumes" / "default" / "marks").iterdir())
    assert len(marks) == 30
    assert {mark.read_text() for mark in marks} == {"began\nended\n"}
    stored = {entry["metadata"]["name"] for entry in running.get(CONFIG_MAPS)["items"]}
    assert len(writer.acknowledged) > 10
    assert writer.acknowledged <= stored
    for pod in running.get(PODS)["items"]:
        for status in pod["status"]["containerStatuses"]:
            assert status["restartCount"] == 0


def test_a_rollout_goes_on_after_a_kill(running: harness.Running) -> None:
    patch = {"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}}
    status, _ = running.request(
        "PATCH", f"{DEPLOYMENTS}/d", patch, content_type="application/merge-patch+json"
    )
    assert status == 200
    running.kill9()
    running.restart()

    def is_rolled_out(found: list[Any]) -> bool:
        told = found[0]["status"]
        return told.get("observedGeneration", 0) >= 2 and (
            told.get("updatedReplicas"),
            told.get("availableReplicas"),
            told.get("replicas"),
        ) == (2, 2, 2)

    running.until(DEPLOYMENTS, is_rolled_out)
    running.until(PODS, lambda pods: len(pods) == PEOPLE + 2 and count_running(pods) == PEOPLE + 2)
