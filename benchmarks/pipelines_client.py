"""Runs in the example's environment: a chain or a fan-out, by kfp.Client or by kfp.local.

Prints one JSON line: {"wall": seconds, "steps": n}. Both sides begin with a compiled pipeline: for
kfp.local the decorator compiles, for the server ``kfp.compiler`` does, before the clock starts.
The end of a run on the server is when its history says so: asking often would slow it down.
"""

import argparse
import json
import logging
import tempfile
import time
import warnings

warnings.simplefilter("ignore")

import kfp  # noqa: E402 - the warnings of its import are not what is measured
from kfp import compiler, dsl, local  # noqa: E402

POLL = 1.0  # seconds: a client that asks takes a core from what it measures


@dsl.component(base_image="python:3.11")
def add(a: int, b: int) -> int:
    return a + b


def chain(steps: int):
    @dsl.pipeline(name=f"chain-{steps}")
    def pipeline(start: int = 0):
        last = add(a=start, b=1).set_caching_options(False)
        for _ in range(steps - 1):
            last = add(a=last.output, b=1).set_caching_options(False)

    return pipeline


def fan(steps: int):
    @dsl.pipeline(name=f"fan-{steps}")
    def pipeline(start: int = 0):
        with dsl.ParallelFor(list(range(steps))) as item:
            add(a=start, b=item).set_caching_options(False)

    return pipeline


def run_on_server(pipeline) -> float:
    client = kfp.Client()
    with tempfile.NamedTemporaryFile(suffix=".yaml") as package:
        compiler.Compiler().compile(pipeline, package.name)
        began = time.time()
        made = client.create_run_from_pipeline_package(
            package.name, arguments={}, enable_caching=False, namespace="kubeflow"
        )
    while True:
        time.sleep(POLL)
        # Not get_run, which tells of every task: what it costs grows with the run.
        found = client.list_runs(page_size=1, sort_by="created_at desc", namespace="kubeflow")
        run = found.runs[0]
        assert run.run_id == made.run_id
        if run.state in {"SUCCEEDED", "FAILED"}:
            assert run.state == "SUCCEEDED", run.state
            return run.finished_at.timestamp() - began


def run_locally(pipeline) -> float:
    local.init(runner=local.SubprocessRunner(use_venv=False), raise_on_error=True)
    began = time.perf_counter()
    pipeline()
    return time.perf_counter() - began


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("shape", choices=["chain", "fan"])
    parser.add_argument("steps", type=int)
    parser.add_argument("where", choices=["server", "local"])
    chosen = parser.parse_args()
    logging.disable(logging.CRITICAL)
    made = (chain if chosen.shape == "chain" else fan)(chosen.steps)
    took = (run_on_server if chosen.where == "server" else run_locally)(made)
    print("\n" + json.dumps({"wall": took, "steps": chosen.steps}))
