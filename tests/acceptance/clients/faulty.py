"""Pipelines of one misbehaving step each; run in the example's environment by name.

Prints one JSON line: {"state", "error", "run_id", "tasks": {name: {"state", "error", "pod"}}}.
"""

import json
import sys
import warnings

warnings.simplefilter("ignore")

import kfp
from kfp import dsl


@dsl.container_component
def no_output(text: dsl.OutputPath(str)):
    return dsl.ContainerSpec(
        image="python:3.11", command=["sh", "-c", "echo bye; : $0"], args=[text]
    )


@dsl.component(base_image="python:3.11")
def loud(megabytes: int) -> int:
    import sys

    line = "x" * 1023 + "\n"
    for _ in range(1024 * megabytes):
        sys.stdout.write(line)
    print("the end")
    return megabytes


@dsl.component(base_image="python:3.11")
def forks(mark: str) -> int:
    import subprocess
    import sys

    stay = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(1000)", mark]
    for detached in (False, True, True):
        child = subprocess.Popen(stay, stdout=subprocess.PIPE, start_new_session=detached)
        print("child is", child.stdout.readline().decode().strip())
    return 3


@dsl.component(base_image="python:3.11")
def killed():
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


@dsl.component(base_image="python:3.11")
def exits(code: int):
    import sys

    print("last words")
    sys.exit(code)


@dsl.component(base_image="python:3.11")
def stubborn(mark: str):
    import signal
    import time

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print(f"started {mark}", flush=True)
    time.sleep(1000)


COMPONENTS = {
    made.name.replace("-", "_"): made for made in (no_output, loud, forks, killed, exits, stubborn)
}


def submit(name: str, arguments: dict) -> tuple[kfp.Client, str]:
    @dsl.pipeline(name=f"faulty-{name.replace('_', '-')}")
    def pipeline():
        COMPONENTS[name](**arguments)

    client = kfp.Client()
    made = client.create_run_from_pipeline_func(
        pipeline, arguments={}, enable_caching=False, namespace="kubeflow"
    )
    return client, made.run_id


def tell(client: kfp.Client, run_id: str) -> None:
    run = client.wait_for_run_completion(run_id, timeout=120, sleep_duration=1)
    tasks = {
        task.display_name: {
            "state": task.state,
            "error": task.error.message if task.error else "",
            "pod": task.pod_name,
        }
        for task in run.run_details.task_details
    }
    error = run.error.message if run.error else ""
    print(json.dumps({"state": run.state, "error": error, "run_id": run_id, "tasks": tasks}))


if __name__ == "__main__":
    client, run_id = submit(sys.argv[1], json.loads(sys.argv[2]))
    if sys.argv[1] == "stubborn":
        print(run_id, flush=True)
        sys.stdin.readline()  # the test says when
        client.terminate_run(run_id)
    tell(client, run_id)
