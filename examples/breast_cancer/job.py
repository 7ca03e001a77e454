"""The main job: run the pipeline, deploy, deploy again as a canary, ask it 1 000 times.

Needs a kubeconfig (KUBECONFIG) and nothing of the platform: kfp, kserve, kubernetes and
tritonclient alone. ``python job.py`` does all of it; ``python job.py promote`` and
``python job.py rollback`` end the canary.
"""

import argparse
import collections
import csv
import os
import statistics
import sys
import time
from urllib.parse import urlsplit

import kfp
import numpy
from kserve import (
    KServeClient,
    V1beta1InferenceService,
    V1beta1InferenceServiceSpec,
    V1beta1PredictorSpec,
    constants,
)
from kubernetes import client as kubernetes
from kubernetes import config
from pipeline import breast_cancer
from tritonclient import http as triton

NAMESPACE = "kubeflow"
SERVICE = "breast-cancer"
POLL = 1  # seconds
TIMEOUT = 1800  # seconds: the first run may have to download what it installs
DEEP = [{"max_depth": 2}, {"max_depth": 3}, {"max_depth": 4}]
SHALLOW = [
    {"max_depth": 1, "learning_rate": 0.3},
    {"max_depth": 2, "learning_rate": 0.5},
    {"max_depth": 2, "subsample": 0.8},
]


def run(client: kfp.Client, title: str, **arguments) -> dict[str, str]:
    """Submit, wait, and give the state of each task; anything but SUCCEEDED ends the job."""
    began = time.monotonic()
    made = client.create_run_from_pipeline_func(
        breast_cancer,
        arguments={"service": SERVICE, **arguments},
        run_name=title,
        experiment_name="breast-cancer",
        namespace=NAMESPACE,
    )
    done = client.wait_for_run_completion(made.run_id, timeout=TIMEOUT, sleep_duration=POLL)
    took = time.monotonic() - began
    tasks = {
        task.display_name: task.state
        for task in done.run_details.task_details
        if task.pod_name or task.state == "SKIPPED"
    }
    print(f"\n{title}: {done.state} in {took:.1f} s (run {made.run_id})", flush=True)
    if done.state != "SUCCEEDED":
        sys.exit(f"{title} ended {done.state}: {done.error and done.error.message}")
    return tasks


def describe(serving: KServeClient) -> tuple[str, str, dict[str, str]]:
    """The endpoint's URL, the newest revision, and what the deployment wrote beside it."""
    found = serving.get(SERVICE, NAMESPACE)
    predictor = found["status"]["components"]["predictor"]
    return (
        found["status"]["url"],
        predictor["latestReadyRevision"],
        found["metadata"]["annotations"],
    )


def read_rows(path: str) -> tuple[numpy.ndarray, numpy.ndarray]:
    """The features and labels of a CSV file whose last column is the label."""
    with open(path, newline="") as lines:
        table = numpy.array(list(csv.reader(lines))[1:], dtype=float)
    return table[:, :-1], table[:, -1].astype(int)


def ask(url: str, rows: numpy.ndarray, labels: numpy.ndarray, count: int):
    """Send all rows ``count`` times; per version: how often it answered, and its accuracy."""
    parts = urlsplit(url)
    server = triton.InferenceServerClient(parts.netloc + parts.path)
    header = {"Authorization": bearer()}
    tensor = triton.InferInput("input-0", list(rows.shape), "FP64")
    tensor.set_data_from_numpy(rows)
    answers, times, accuracy = collections.Counter(), [], {}
    for _ in range(count):
        began = time.perf_counter()
        reply = server.infer(SERVICE, [tensor], headers=header)
        times.append(1000 * (time.perf_counter() - began))
        answer = reply.get_response()
        version = answer["model_version"]
        scores = reply.as_numpy(answer["outputs"][0]["name"])
        answers[version] += 1
        accuracy[version] = float(((scores > 0.5).astype(int) == labels).mean())
    return answers, times, accuracy


def bearer() -> str:
    """The Authorization header that the kubeconfig's user sends."""
    config.load_kube_config()
    return kubernetes.Configuration.get_default_copy().get_api_key_with_prefix("authorization")


def set_share(percent: int) -> None:
    """Give the newest version that share of the traffic: 100 promotes it, 0 takes it back."""
    serving = KServeClient()
    change = V1beta1InferenceService(
        api_version=constants.KSERVE_V1BETA1,
        kind=constants.KSERVE_KIND_INFERENCESERVICE,
        metadata=kubernetes.V1ObjectMeta(name=SERVICE, namespace=NAMESPACE),
        spec=V1beta1InferenceServiceSpec(
            predictor=V1beta1PredictorSpec(canary_traffic_percent=percent)
        ),
    )
    written = serving.patch(SERVICE, change, NAMESPACE)
    serving.wait_isvc_ready(
        SERVICE,
        NAMESPACE,
        polling_interval=POLL,
        expected_generation=written["metadata"]["generation"],
    )
    traffic = serving.get(SERVICE, NAMESPACE)["status"]["components"]["predictor"]["traffic"]
    for target in traffic:
        print(f"{target['revisionName']}: {target['percent']} %")


def main(requests: int) -> None:
    """The whole job, printing what it finds; a wrong finding is a non-zero exit code."""
    pages = os.environ.get("BESSEMER_PIPELINES")  # where the printed links lead, if it is known
    client, serving = kfp.Client(ui_host=pages), KServeClient()
    expected = {}
    run(client, "first version", settings=DEEP, rounds=60)
    url, revision, notes = describe(serving)
    expected[revision] = float(notes["example/accuracy"])
    print(f"serving {revision} at {url}")

    canary = {"settings": SHALLOW, "rounds": 120, "canary_percent": 10}
    run(client, "canary", **canary)
    url, revision, notes = describe(serving)
    expected[revision] = float(notes["example/accuracy"])
    print(f"serving {revision} to 10 % of the requests")

    rows, labels = read_rows(notes["example/test-data"])
    answers, times, accuracy = ask(url, rows, labels, requests)
    cuts = statistics.quantiles(times, n=100)
    print(
        f"\n{requests} requests of {len(rows)} rows: p50 {cuts[49]:.2f} ms, p99 {cuts[98]:.2f} ms"
    )
    for version, count in sorted(answers.items()):
        print(
            f"{version}: {count / requests:.1%} of the answers, accuracy {accuracy[version]:.4f} "
            f"over the wire, {expected[version]:.4f} in the pipeline"
        )
    differing = [v for v in answers if accuracy[v] != expected[v]]
    if differing or len(answers) != len(expected):
        sys.exit(f"two versions with equal accuracies wanted: {answers=} {accuracy=} {expected=}")

    states = run(client, "canary, unchanged", **canary)
    cached = [name for name, state in states.items() if state == "SKIPPED"]
    ran = sorted(set(states) - set(cached))
    print(f"{len(cached)} tasks came from the cache; run again: {', '.join(ran)}")
    print(f"\nreport: {notes['example/report']}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("action", nargs="?", choices=["job", "promote", "rollback"], default="job")
    parser.add_argument("--requests", type=int, default=1000)
    chosen = parser.parse_args()
    if chosen.action == "job":
        main(chosen.requests)
    else:
        set_share(100 if chosen.action == "promote" else 0)
