"""The pipeline: load and check the data, train three models, pick, evaluate, deploy the best."""

from kfp import dsl
from kfp.dsl import HTML, ClassificationMetrics, Dataset, Input, Metrics, Model, Output

PYTHON = "python:3.11"
LEARN = ["scikit-learn==1.9.1", "xgboost-cpu==3.2.0"]
DEPLOY = ["kserve==0.21.0", "kubernetes==30.1.0"]


@dsl.component(base_image=PYTHON, packages_to_install=LEARN)
def load(held_out: float, seed: int, train: Output[Dataset], test: Output[Dataset]) -> int:
    """Split scikit-learn's breast-cancer data; the last column is the label."""
    import numpy
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split

    data = load_breast_cancer()
    table = numpy.column_stack([data.data, data.target])
    parts = train_test_split(table, test_size=held_out, random_state=seed, stratify=data.target)
    header = ",".join([*(name.replace(" ", "_") for name in data.feature_names), "benign"])
    for part, artifact in zip(parts, (train, test), strict=True):
        numpy.savetxt(artifact.path, part, delimiter=",", header=header, comments="", fmt="%.17g")
        artifact.metadata["rows"] = len(part)
    return len(table)


@dsl.component(base_image=PYTHON, packages_to_install=LEARN)
def check(train: Input[Dataset], test: Input[Dataset], columns: int = 31) -> str:
    """Fail the run if the schema, missing values or class balance are not as they should be."""
    import numpy

    for part, artifact in (("train", train), ("test", test)):
        table = numpy.genfromtxt(artifact.path, delimiter=",", skip_header=1)
        if table.shape[1] != columns:
            raise ValueError(f"{part}: {columns} columns wanted, {table.shape[1]} found")
        if missing := int(numpy.isnan(table).sum()):
            raise ValueError(f"{part}: no value may be missing, but {missing} are")
        share = float(table[:, -1].mean())
        if not 0.5 <= share <= 0.75:
            raise ValueError(f"{part}: 50-75 % benign wanted, {share:.1%} found")
        print(f"{part}: {len(table)} rows, {share:.1%} benign, nothing missing")
    return "ok"


@dsl.component(base_image=PYTHON, packages_to_install=LEARN)
def fit(
    train: Input[Dataset],
    setting: dict,
    rounds: int,
    model: Output[Model],
    metrics: Output[Metrics],
) -> float:
    """Train with one setting; the score is the accuracy in 4-fold cross-validation."""
    import os

    import numpy
    import xgboost
    from sklearn.model_selection import cross_val_score

    table = numpy.genfromtxt(train.path, delimiter=",", skip_header=1)
    rows, labels = table[:, :-1], table[:, -1]
    classifier = xgboost.XGBClassifier(n_estimators=rounds, n_jobs=1, random_state=0, **setting)
    score = float(cross_val_score(classifier, rows, labels, cv=4).mean())
    classifier.fit(rows, labels)
    os.makedirs(model.path)
    classifier.save_model(os.path.join(model.path, "model.json"))
    model.metadata["framework"] = f"xgboost {xgboost.__version__}"
    metrics.log_metric("cross_validated_accuracy", score)
    print(f"cross-validated accuracy {score:.4f} with {setting}")
    return score


@dsl.component(base_image=PYTHON, packages_to_install=LEARN)
def pick(models: Input[list[Model]], scores: list[float], best: Output[Model]) -> int:
    """Copy the model with the best score; the first of equals."""
    import shutil

    index = scores.index(max(scores))
    shutil.copytree(models[index].path, best.path)
    best.metadata["score"] = scores[index]
    print(f"model {index} of {len(scores)} is the best, {scores[index]:.4f}")
    return index


@dsl.component(base_image=PYTHON, packages_to_install=LEARN)
def evaluate(
    model: Input[Model],
    test: Input[Dataset],
    metrics: Output[Metrics],
    curve: Output[ClassificationMetrics],
    report: Output[HTML],
) -> float:
    """Measure on the held-out part: accuracy, ROC, confusion matrix, and an HTML report."""
    import os

    import numpy
    import xgboost
    from sklearn.metrics import accuracy_score, confusion_matrix, roc_auc_score, roc_curve

    table = numpy.genfromtxt(test.path, delimiter=",", skip_header=1)
    rows, labels = table[:, :-1], table[:, -1].astype(int)
    booster = xgboost.Booster(model_file=os.path.join(model.path, "model.json"))
    scores = booster.predict(xgboost.DMatrix(rows))
    found = (scores > 0.5).astype(int)
    accuracy = float(accuracy_score(labels, found))
    area = float(roc_auc_score(labels, scores))
    false, true, thresholds = roc_curve(labels, scores)
    matrix = confusion_matrix(labels, found).tolist()
    metrics.log_metric("accuracy", accuracy)
    metrics.log_metric("roc_auc", area)
    thresholds = numpy.minimum(thresholds, 1.0)
    curve.log_roc_curve(false.tolist(), true.tolist(), [float(value) for value in thresholds])
    curve.log_confusion_matrix(["malignant", "benign"], matrix)
    line = " ".join(
        f"{20 + 300 * x:.1f},{320 - 300 * y:.1f}" for x, y in zip(false, true, strict=True)
    )
    cells = "".join(
        f"<tr><th>{name}</th>" + "".join(f"<td>{count}</td>" for count in row) + "</tr>"
        for name, row in zip(["malignant", "benign"], matrix, strict=True)
    )
    with open(report.path, "w") as page:
        page.write(
            "<!doctype html><meta charset='utf-8'><title>Breast cancer</title>"
            "<style>body{font:16px system-ui;margin:2em;max-width:46em}td,th{padding:.4em 1em;"
            "text-align:right}polyline{fill:none;stroke:#0a6;stroke-width:2}</style>"
            f"<h1>Breast cancer: {accuracy:.1%} right on {len(rows)} held-out rows</h1>"
            f"<h2>ROC curve, area {area:.4f}</h2><svg width='340' height='340'>"
            "<rect x='20' y='20' width='300' height='300' fill='none' stroke='#999'/>"
            f"<polyline points='{line}'/></svg>"
            "<h2>Confusion matrix</h2><table><tr><th>is \\ found</th><th>malignant</th>"
            f"<th>benign</th></tr>{cells}</table>"
        )
    print(f"accuracy {accuracy:.4f}, area under the ROC curve {area:.4f}")
    return accuracy


@dsl.component(base_image=PYTHON, packages_to_install=DEPLOY)
def deploy(
    name: str,
    canary_percent: int,
    accuracy: float,
    model: Input[Model],
    test: Input[Dataset],
    report: Input[HTML],
) -> str:
    """Create the InferenceService, or give its newest version a share of the traffic."""
    from kserve import (
        KServeClient,
        V1beta1InferenceService,
        V1beta1InferenceServiceSpec,
        V1beta1ModelFormat,
        V1beta1ModelSpec,
        V1beta1PredictorSpec,
        constants,
    )
    from kserve.utils import utils
    from kubernetes.client import V1ObjectMeta

    client = KServeClient()
    namespace = utils.get_default_target_namespace()  # the pod's own
    predictor = V1beta1PredictorSpec(
        canary_traffic_percent=canary_percent or None,
        model=V1beta1ModelSpec(
            model_format=V1beta1ModelFormat(name="xgboost"), storage_uri=model.uri
        ),
    )
    service = V1beta1InferenceService(
        api_version=constants.KSERVE_V1BETA1,
        kind=constants.KSERVE_KIND_INFERENCESERVICE,
        metadata=V1ObjectMeta(
            name=name,
            namespace=namespace,
            annotations={
                "example/accuracy": repr(accuracy),
                "example/test-data": test.uri,
                "example/report": report.uri,
            },
        ),
        spec=V1beta1InferenceServiceSpec(predictor=predictor),
    )
    known = [item["metadata"]["name"] for item in client.get(namespace=namespace)["items"]]
    if name in known:
        written = client.patch(name, service, namespace)
    else:
        written = client.create(service, namespace)
    client.wait_isvc_ready(
        name,
        namespace,
        timeout_seconds=120,
        polling_interval=1,
        expected_generation=written["metadata"]["generation"],
    )
    status = client.get(name, namespace)["status"]
    print(f"{name} is ready at {status['url']}")
    return str(status["components"]["predictor"]["latestReadyRevision"])


@dsl.component(base_image=PYTHON)
def tell(status: dsl.PipelineTaskFinalStatus):
    """Always the last word, whether the run went well or not."""
    print(f"the run ended {status.state}. {status.error_message or ''}")


@dsl.pipeline(name="breast-cancer", description="From data to an endpoint, with a canary")
def breast_cancer(
    settings: list[dict],
    rounds: int = 60,
    held_out: float = 0.2,
    seed: int = 7,
    threshold: float = 0.95,
    canary_percent: int = 0,
    service: str = "breast-cancer",
):
    last = tell().set_caching_options(False)
    with dsl.ExitHandler(last, name="always tell"):
        data = load(held_out=held_out, seed=seed)
        checked = check(train=data.outputs["train"], test=data.outputs["test"])
        with dsl.ParallelFor(settings, name="settings", parallelism=3) as setting:
            fitted = fit(train=data.outputs["train"], setting=setting, rounds=rounds).after(
                checked
            )
        best = pick(
            models=dsl.Collected(fitted.outputs["model"]),
            scores=dsl.Collected(fitted.outputs["Output"]),
        )
        judged = evaluate(model=best.outputs["best"], test=data.outputs["test"])
        with dsl.If(judged.outputs["Output"] >= threshold, name="good enough"):
            deploy(
                name=service,
                canary_percent=canary_percent,
                accuracy=judged.outputs["Output"],
                model=best.outputs["best"],
                test=data.outputs["test"],
                report=judged.outputs["report"],
            )
