"""Submits a run of three steps; each asks the test by a socket, and goes on when it is told to.

Prints one JSON line, {"run_id"}, and once the run is over another: {"state", "error"}.
"""

import json
import sys
import warnings

warnings.simplefilter("ignore")

import kfp
from kfp import dsl

ASK = 'exec 3<>"/dev/tcp/127.0.0.1/$0"; echo "$1" >&3; read -r word <&3; echo "told to $word"'


@dsl.container_component
def step(port: int, name: str):
    return dsl.ContainerSpec(image="bash", command=["bash", "-ec", ASK], args=[port, name])


@dsl.pipeline(name="waiting-steps")
def pipeline(port: int):
    before = None
    for name in ("first", "second", "third"):
        task = step(port=port, name=name)
        if before is not None:
            task.after(before)
        before = task


if __name__ == "__main__":
    client = kfp.Client()
    made = client.create_run_from_pipeline_func(
        pipeline, arguments={"port": int(sys.argv[1])}, enable_caching=False, namespace="kubeflow"
    )
    print(json.dumps({"run_id": made.run_id}), flush=True)
    run = client.wait_for_run_completion(made.run_id, timeout=150, sleep_duration=1)
    error = run.error.message if run.error else ""
    print(json.dumps({"state": run.state, "error": error}))
