"""Runs the example's pipeline with a data check that must fail: one column too many is there.

Prints one JSON line: {"state", "error", "tasks": {name: state}, "told": pod of the exit task}.
"""

import json
import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "examples" / "breast_cancer"))

import kfp
import yaml
from kfp import compiler
from pipeline import breast_cancer


def with_fewer_columns(file: str) -> None:
    spec = yaml.safe_load(Path(file).read_text())
    dags = [spec["root"], *spec["components"].values()]
    (check,) = [
        task
        for dag in dags
        for task in dag.get("dag", {}).get("tasks", {}).values()
        if task["componentRef"]["name"] == "comp-check"
    ]
    columns = {"runtimeValue": {"constant": 30}}
    check["inputs"].setdefault("parameters", {})["columns"] = columns
    Path(file).write_text(yaml.safe_dump(spec))


if __name__ == "__main__":
    compiler.Compiler().compile(breast_cancer, "broken.yaml")
    with_fewer_columns("broken.yaml")
    client = kfp.Client()
    made = client.create_run_from_pipeline_package(
        "broken.yaml", arguments={"settings": [{"max_depth": 2}]}, enable_caching=False
    )
    done = client.wait_for_run_completion(made.run_id, timeout=300, sleep_duration=1)
    tasks = {task.display_name: task for task in done.run_details.task_details}
    told = {
        "state": done.state,
        "error": done.error.message if done.error else "",
        "tasks": {name: task.state for name, task in tasks.items()},
        "told": tasks["tell"].pod_name,
    }
    print(json.dumps(told))
