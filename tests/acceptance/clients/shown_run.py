"""A run with what pages find hard to show: long names, a failure with attempts, every artifact.

Prints one JSON line: {"run_id", "tasks": {display name: task id}}.
"""

import json
import warnings

warnings.simplefilter("ignore")

import kfp
from kfp import dsl
from kfp.dsl import HTML, ClassificationMetrics, Dataset, Markdown, Metrics, Output

NAME = "nightly-evaluation-of-all-models-against-the-reference-data"


@dsl.component(base_image="python:3.11")
def evaluate_every_model_against_the_reference_data(
    data: Output[Dataset],
    notes: Output[Markdown],
    report: Output[HTML],
    scores: Output[Metrics],
    curve: Output[ClassificationMetrics],
):
    with open(data.path, "w") as file:
        file.write("a,b\n1,2\n")
    with open(notes.path, "w") as file:
        file.write("# Notes\n\n<script>document.title = 'taken'</script>\n\n| a | b |\n|-|-|\n")
        file.write("| a name that goes on and on and on | 0.123456789012345678 |\n")
    with open(report.path, "w") as file:
        file.write(
            "<h1 id=t>static</h1><script>let said = 'readable';"
            "try { said += document.cookie } catch (error) { said = error.name }"
            "if (top !== window)"
            "  try { top.location = '/logout' } catch (error) { said += ' kept' }"
            "document.getElementById('t').textContent = said</script>"
        )
    scores.log_metric("accuracy_of_the_best_model_on_the_reference_data", 0.9712345678901234)
    curve.log_roc_curve([0, 0.1, 1], [0, 0.8, 1], [1, 0.5, 0])
    curve.log_confusion_matrix(["setosa", "versicolor"], [[9, 1], [2, 8]])


@dsl.component(base_image="python:3.11")
def fail(depth: int):
    print("printed before the failure")

    def descend(left: int):
        if not left:
            raise ValueError("no rows in " + "/a/very/long/path" * 12)
        descend(left - 1)

    descend(depth)


@dsl.component(base_image="python:3.11")
def one(number: int) -> int:
    return number


@dsl.pipeline(name=NAME)
def pipeline(text: str = "some long default text " * 10):
    evaluate_every_model_against_the_reference_data()
    fail(depth=3).set_retry(1, backoff_duration="0s")
    with dsl.ParallelFor([1, 2, 3]) as item:
        one(number=item)


client = kfp.Client()
run = client.create_run_from_pipeline_func(
    pipeline, run_name="A run with a long name, as people give them: nightly, all models"
)
client.wait_for_run_completion(run.run_id, timeout=120)
details = client.get_run(run.run_id).run_details.task_details
print(json.dumps({"run_id": run.run_id, "tasks": {t.display_name: t.task_id for t in details}}))
