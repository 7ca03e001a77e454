"""Submits 60 steps, five at a time, each telling a counter that it began and that it ended."""

import sys
import warnings

warnings.simplefilter("ignore")

import kfp
from kfp import dsl


@dsl.component(base_image="python:3.11")
def step(index: int, counter: str, seconds: float) -> int:
    import time
    import urllib.request

    urllib.request.urlopen(f"{counter}/began/{index}", data=b"").read()
    time.sleep(seconds)
    urllib.request.urlopen(f"{counter}/ended/{index}", data=b"").read()
    return index


@dsl.component(base_image="python:3.11")
def total(values: list[int]) -> int:
    return sum(values)


@dsl.pipeline(name="long-run")
def pipeline(counter: str, seconds: float):
    with dsl.ParallelFor(list(range(59)), parallelism=5) as index:
        made = step(index=index, counter=counter, seconds=seconds)
    total(values=dsl.Collected(made.output))


if __name__ == "__main__":
    made = kfp.Client().create_run_from_pipeline_func(
        pipeline,
        arguments={"counter": sys.argv[1], "seconds": float(sys.argv[2])},
        enable_caching=False,
        namespace="kubeflow",
    )
    print(made.run_id)
