"""Artifacts of every shape from step to step, in whatever kfp 2 runs it; one line of JSON."""

import json
import warnings

warnings.simplefilter("ignore")

import kfp
from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output


@dsl.component(base_image="python:3.11")
def make(n: int, data: Output[Dataset], scores: Output[Metrics]) -> int:
    with open(data.path, "w") as file:
        file.write("x" * n)
    data.metadata["rows"] = n
    scores.log_metric("loss", 0.5)
    return n


@dsl.component(base_image="python:3.11")
def fit(data: Input[Dataset], model: Output[Model]) -> str:
    from pathlib import Path

    Path(model.path).mkdir()
    (Path(model.path) / "weights").write_text("w")
    return Path(data.path).read_text() + str(data.metadata["rows"])


@dsl.component(base_image="python:3.11")
def look(model: Input[Model], text: str) -> str:
    from pathlib import Path

    return text + ",".join(one.name for one in Path(model.path).iterdir())


@dsl.pipeline(name="artifacts")
def pipeline(n: int = 3):
    made = make(n=n)
    fitted = fit(data=made.outputs["data"])
    look(model=fitted.outputs["model"], text=fitted.outputs["Output"])


if __name__ == "__main__":
    client = kfp.Client()
    made = client.create_run_from_pipeline_func(pipeline, arguments={}, enable_caching=False)
    run = client.wait_for_run_completion(made.run_id, timeout=250, sleep_duration=1)
    error = run.error.message if run.error else ""
    told = {"version": kfp.__version__, "state": run.state, "error": error, "run_id": made.run_id}
    print(json.dumps(told))
