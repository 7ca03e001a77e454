"""What a user of ``kfp.Client()`` does every day, with nothing but KUBECONFIG to go by.

Prints one JSON line of what happened.
"""

import json
import warnings

warnings.simplefilter("ignore")

import kfp
import kfp_server_api
from kfp import compiler, dsl


@dsl.component(base_image="python:3.11")
def add(a: int, b: int) -> int:
    print(f"adding {a} and {b}")
    return a + b


@dsl.component(base_image="python:3.11")
def linger(seconds: int):
    import time

    print("lingering", flush=True)
    time.sleep(seconds)


@dsl.pipeline(name="adder")
def adder(a: int, b: int = 2):
    first = add(a=a, b=b)
    add(a=first.output, b=1)


@dsl.pipeline(name="lingerer")
def lingerer(seconds: int = 600):
    linger(seconds=seconds)


def refused(call, *arguments, **named) -> int:
    try:
        call(*arguments, **named)
    except kfp_server_api.ApiException as error:
        return error.status
    return 200


def main() -> dict[str, object]:
    client = kfp.Client()
    told = {"version": kfp.__version__, "multi user": client.get_kfp_healthz().multi_user}

    made = client.create_run_from_pipeline_func(adder, arguments={"a": 3}, experiment_name="daily")
    done = client.wait_for_run_completion(made.run_id, timeout=120, sleep_duration=1)
    told["run"] = done.state
    told["read"] = client.get_run(made.run_id).state
    told["tasks"] = sorted(task.display_name for task in done.run_details.task_details)
    told["listed"] = made.run_id in [
        run.run_id for run in client.list_runs(namespace="kubeflow", page_size=100).runs
    ]

    name = f"adder by {kfp.__version__}"
    compiler.Compiler().compile(adder, "adder.yaml")
    uploaded = client.upload_pipeline("adder.yaml", pipeline_name=name, namespace="kubeflow")
    told["uploaded"] = client.get_pipeline(uploaded.pipeline_id).display_name == name
    told["found"] = client.get_pipeline_id(name) == uploaded.pipeline_id
    versions = client.list_pipeline_versions(uploaded.pipeline_id).pipeline_versions
    told["versions"] = len(versions)
    experiment = client.create_experiment("daily", namespace="kubeflow")
    by_version = client.run_pipeline(
        experiment.experiment_id,
        "by version",
        params={"a": 1},
        pipeline_id=uploaded.pipeline_id,
        version_id=versions[0].pipeline_version_id,
        enable_caching=False,
    )
    done = client.wait_for_run_completion(by_version.run_id, timeout=120, sleep_duration=1)
    told["by version"] = done.state

    slow = client.create_run_from_pipeline_func(lingerer, arguments={}, enable_caching=False)
    client.terminate_run(slow.run_id)
    done = client.wait_for_run_completion(slow.run_id, timeout=120, sleep_duration=1)
    told["terminated"] = done.state

    told["no such run"] = refused(client.get_run, "no-such-run")
    told["wrong argument"] = refused(
        client.create_run_from_pipeline_func, adder, arguments={"a": "three"}
    )
    return told


if __name__ == "__main__":
    print(json.dumps(main()))
