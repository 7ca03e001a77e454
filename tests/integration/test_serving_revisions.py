"""InferenceServices through the public doors of a real Bessemer: API, gateway, KServeClient."""

import collections
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import harness
import modelserver_world
from bessemer.kinds import meta

NAMESPACE = "default"
ISVCS = f"/apis/serving.kserve.io/v1beta1/namespaces/{NAMESPACE}/inferenceservices"
CLAIMS = f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
ROW = {"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [5.1, 3.5, 1.4, 0.2]}
BUILD_SECONDS = 150.0  # the first model builds an environment


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Running]:
    with harness.bessemer(tmp_path_factory.mktemp("serving")) as running:
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        running.create(CLAIMS, {"metadata": {"name": "models"}, "spec": spec})
        running.until(CLAIMS, lambda claims: claims[0]["status"]["phase"] == "Bound")
        yield running


@pytest.fixture(scope="module")
def models(running: harness.Running, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models inside the claim."""
    made = tmp_path_factory.mktemp("made")
    script = modelserver_world.ROOT / "tests" / "make_models.py"
    subprocess.run([modelserver_world.make_environment(), script, made], check=True)
    claim = running.home / "volumes" / NAMESPACE / "models"
    shutil.copytree(made, claim / "made")
    return claim / "made"


def declare(name: str, **predictor: Any) -> dict[str, Any]:
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {"predictor": predictor},
    }


def patch(running: harness.Running, name: str, **predictor: Any) -> int:
    """Change the predictor; the new generation."""
    status, answer = running.request(
        "PATCH",
        f"{ISVCS}/{name}",
        {"spec": {"predictor": predictor}},
        content_type="application/merge-patch+json",
    )
    assert status == 200, answer
    return int(answer["metadata"]["generation"])


def until(
    running: harness.Running, name: str, holds: Any, seconds: float = BUILD_SECONDS
) -> dict[str, Any]:
    def of_one(found: list[Any]) -> Any:
        return next((isvc for isvc in found if meta.name(isvc) == name and holds(isvc)), None)

    found: dict[str, Any] = of_one(running.until(ISVCS, of_one, seconds))
    return found


def is_ready(isvc: dict[str, Any], generation: int = 0) -> bool:
    ready = (meta.condition(isvc, "Ready") or {}).get("status") == "True"
    return ready and isvc["status"]["observedGeneration"] >= generation


def traffic(isvc: dict[str, Any]) -> dict[str, int]:
    targets = meta.dig(isvc, "status.components.predictor.traffic") or ()
    return {target["revisionName"]: target["percent"] for target in targets}


class Load:
    """Requests without a pause, until it ends."""

    def __init__(self, running: harness.Running, name: str) -> None:
        self.url = f"{running.gateway}/serving/{NAMESPACE}/{name}/v2/models/{name}/infer"
        self.headers = {"Authorization": f"Bearer {running.token}"}
        self.versions: collections.Counter[str] = collections.Counter()
        self.failures: list[str] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        with httpx.Client(headers=self.headers, timeout=30) as http:
            while not self.stopping.is_set():
                self.ask(http)

    def ask(self, http: httpx.Client) -> None:
        try:
            answer = http.post(self.url, json={"inputs": [ROW]})
        except httpx.HTTPError as error:
            self.failures.append(repr(error))
            return
        if answer.status_code == 200:
            self.versions[answer.json()["model_version"]] += 1
        else:
            self.failures.append(f"{answer.status_code} {answer.text}")

    def count(self, requests: int) -> collections.Counter[str]:
        """Which version answered each of so many requests."""
        self.versions.clear()
        with httpx.Client(headers=self.headers, timeout=30) as http:
            for _ in range(requests):
                self.ask(http)
        return self.versions


@contextmanager
def under_load(running: harness.Running, name: str) -> Iterator[Load]:
    load = Load(running, name)
    threads = [threading.Thread(target=load.run) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.stopping.set()
        for thread in threads:
            thread.join()
    assert load.versions
    assert load.failures == []


def test_canary_promotion_and_rollback_fail_no_request(
    running: harness.Running, models: Path
) -> None:
    uri = str(models / "artifact")
    running.create(ISVCS, declare("roll", sklearn={"storageUri": uri}, canaryTrafficPercent=10))
    first = until(running, "roll", is_ready)
    assert first["status"]["url"] == f"{running.gateway}/serving/{NAMESPACE}/roll"
    assert traffic(first) == {"roll-predictor-00001": 100}
    other = f"file://{models / 'logistic.joblib'}"
    with under_load(running, "roll"):
        generation = patch(running, "roll", model={"storageUri": other})
        canary = until(running, "roll", lambda isvc: is_ready(isvc, generation))
        assert traffic(canary) == {"roll-predictor-00002": 10, "roll-predictor-00001": 90}
        shares = Load(running, "roll").count(1000)
        assert 50 < shares["roll-predictor-00002"] < 160

        generation = patch(running, "roll", canaryTrafficPercent=None)
        promoted = until(running, "roll", lambda isvc: is_ready(isvc, generation))
        component = promoted["status"]["components"]["predictor"]
        assert component["latestRolledoutRevision"] == "roll-predictor-00002"
        assert component["previousRolledoutRevision"] == "roll-predictor-00001"
        assert set(Load(running, "roll").count(50)) == {"roll-predictor-00002"}

        def is_parked(found: list[Any]) -> bool:
            return any(
                meta.name(deployment) == "roll-predictor-00001"
                and deployment["spec"]["replicas"] == 0
                for deployment in found
            )

        running.until(DEPLOYMENTS, is_parked)
        generation = patch(running, "roll", canaryTrafficPercent=0)
        back = until(running, "roll", lambda isvc: is_ready(isvc, generation))
        assert traffic(back) == {"roll-predictor-00002": 0, "roll-predictor-00001": 100}
        assert set(Load(running, "roll").count(50)) == {"roll-predictor-00001"}


@pytest.mark.parametrize(
    ("uri", "reason", "words"),
    [
        ("{models}/nothing", "ModelLoadFailed", "nothing exists at {models}/nothing"),
        ("{models}/five.joblib", "ModelLoadFailed", "no predict()"),
        ("pvc://absent/model", "ClaimNotFound", "absent"),
        ("s3://bucket/model", "StorageUriNotSupported", "pvc://"),
        ("/etc/passwd", "StorageUriNotSupported", "no volume of namespace"),
        ("{models}/../../../other/claim/model", "StorageUriNotSupported", "supported"),
    ],
)
def test_bad_storage_says_why_and_the_previous_version_answers(
    running: harness.Running, models: Path, uri: str, reason: str, words: str
) -> None:
    name = "bad"
    if running.request("GET", f"{ISVCS}/{name}")[0] == 404:
        good = {"modelFormat": {"name": "sklearn"}, "storageUri": "pvc://models/made/artifact"}
        running.create(ISVCS, declare(name, model=good))
        until(running, name, is_ready)
    with under_load(running, name):
        generation = patch(running, name, model={"storageUri": uri.format(models=models)})

        def has_failed(isvc: dict[str, Any]) -> bool:
            ready = meta.condition(isvc, "PredictorReady") or {}
            return (
                isvc["status"]["observedGeneration"] >= generation
                and (ready["status"], ready.get("reason")) == ("False", reason)
                and words.format(models=models) in ready["message"]
            )

        failed = until(running, name, has_failed, 30)
        assert not is_ready(failed)
        told = failed["status"]["modelStatus"]["lastFailureInfo"]["message"]
        assert words.format(models=models) in told
        assert Load(running, name).count(20)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"predictor": {"tensorflow": {"storageUri": "/x"}}}, "tensorflow"),
        ({"predictor": {"sklearn": {}}}, "storageUri"),
        ({"predictor": {"sklearn": {"storageUri": "/x"}}, "transformer": {}}, "spec.transformer"),
        ({"predictor": {"sklearn": {"storageUri": "/x"}}, "explainer": {}}, "spec.explainer"),
        (
            {"predictor": {"sklearn": {"storageUri": "/x"}, "canaryTrafficPercent": 101}},
            "canaryTrafficPercent",
        ),
        ({"predictor": {"sklearn": {"storageUri": "/x", "runtimeClass": "x"}}}, "runtimeClass"),
        ({}, "spec.predictor"),
    ],
)
def test_unsupported_is_refused_by_name(
    running: harness.Running, spec: dict[str, Any], words: str
) -> None:
    status, answer = running.request("POST", ISVCS, {**declare("refused"), "spec": spec})
    assert status == 422, answer
    assert words in answer["message"]
    assert running.request("GET", f"{ISVCS}/refused")[0] == 404


def test_unknown_format_says_which_are_served(running: harness.Running, models: Path) -> None:
    model = {"modelFormat": {"name": "onnx"}, "storageUri": str(models / "artifact")}
    running.create(ISVCS, declare("onnx", model=model))
    failed = until(running, "onnx", lambda isvc: meta.condition(isvc, "PredictorReady"))
    condition = meta.condition(failed, "PredictorReady") or {}
    assert condition["reason"] == "NoSupportingRuntime"
    assert "sklearn" in condition["message"]
    assert "xgboost" in condition["message"]
    assert failed["status"]["modelStatus"]["transitionStatus"] == "InvalidSpec"
    running.delete(f"{ISVCS}/onnx")


def test_only_token_bearers_reach_a_model_and_deleting_ends_it(
    running: harness.Running, models: Path
) -> None:
    running.create(ISVCS, declare("gone", sklearn={"storageUri": str(models / "artifact")}))
    isvc = until(running, "gone", is_ready)
    path = f"{isvc['status']['url']}/v1/models/gone"
    bearer = {"Authorization": f"Bearer {running.token}"}
    assert httpx.get(path).status_code == 401
    assert httpx.get(path, headers=bearer).json() == {"name": "gone", "ready": True}
    by_host = {**bearer, "Host": f"gone-{NAMESPACE}.{_domain(running)}"}
    assert httpx.get(f"{running.gateway}/v1/models/gone", headers=by_host).status_code == 200
    running.delete(f"{ISVCS}/gone")
    running.until(DEPLOYMENTS, lambda found: not any("gone" in meta.name(each) for each in found))
    pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
    running.until(pods, lambda found: not any("gone" in meta.name(pod) for pod in found))
    deadline = time.monotonic() + 10
    while httpx.get(path, headers=bearer).status_code != 404:
        assert time.monotonic() < deadline


ROUTES = f"/apis/gateway.networking.k8s.io/v1/namespaces/{NAMESPACE}/httproutes"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
SERVICES = f"/api/v1/namespaces/{NAMESPACE}/services"


def names_of(found: list[Any], name: str) -> set[str]:
    """The names of what belongs to that InferenceService."""
    return {meta.name(each) for each in found if meta.name(each).startswith(name)}


def none_of(running: harness.Running, name: str, *paths: str) -> None:
    """Wait until nothing of that InferenceService is left there."""
    for path in paths:
        running.until(path, lambda found: not names_of(found, name))


def stop(running: harness.Running, name: str, value: str | None) -> None:
    notes = {"metadata": {"annotations": {"serving.kserve.io/stop": value}}}
    status, answer = running.request(
        "PATCH", f"{ISVCS}/{name}", notes, content_type="application/merge-patch+json"
    )
    assert status == 200, answer


def test_stopping_ends_everything_and_taking_it_back_serves_again(
    running: harness.Running, models: Path
) -> None:
    name = "halted"
    running.create(ISVCS, declare(name, sklearn={"storageUri": str(models / "artifact")}))
    serving = until(running, name, is_ready)
    assert (meta.condition(serving, "Stopped") or {})["status"] == "False"
    stop(running, name, "true")

    def is_stopped(isvc: dict[str, Any]) -> bool:
        return (meta.condition(isvc, "Stopped") or {}).get("status") == "True"

    stopped = until(running, name, is_stopped)
    assert (meta.condition(stopped, "Ready") or {})["reason"] == "Stopped"
    assert "url" not in stopped["status"]
    none_of(running, name, DEPLOYMENTS, SERVICES, ROUTES, PODS)
    bearer = {"Authorization": f"Bearer {running.token}"}
    path = f"{serving['status']['url']}/v1/models/{name}"
    deadline = time.monotonic() + 10
    while httpx.get(path, headers=bearer).status_code not in (403, 404):
        assert time.monotonic() < deadline
    # A change while it is stopped starts nothing, but is what is served afterwards.
    patch(running, name, model={"storageUri": str(models / "logistic.joblib")})
    stop(running, name, None)
    back = until(running, name, is_ready)
    assert traffic(back) == {f"{name}-predictor-00002": 100}
    assert set(Load(running, name).count(5)) == {f"{name}-predictor-00002"}
    running.delete(f"{ISVCS}/{name}")


def test_the_timeout_is_on_the_routes_and_a_change_of_it_makes_no_revision(
    running: harness.Running, models: Path
) -> None:
    name = "hurried"
    uri = str(models / "artifact")
    running.create(ISVCS, declare(name, sklearn={"storageUri": uri}, timeout=7))
    until(running, name, is_ready)

    def has(timeout: str) -> Any:
        def holds(found: list[Any]) -> bool:
            routes = [route for route in found if meta.name(route) in (name, f"{name}-host")]
            rules = [rule for route in routes for rule in route["spec"]["rules"]]
            return [rule["timeouts"]["request"] for rule in rules] == [timeout] * 2

        return holds

    running.until(ROUTES, has("7s"))
    generation = patch(running, name, timeout=8)
    changed = until(running, name, lambda isvc: is_ready(isvc, generation))
    running.until(ROUTES, has("8s"))
    assert traffic(changed) == {f"{name}-predictor-00001": 100}
    running.delete(f"{ISVCS}/{name}")


def test_versions_that_nobody_needs_go(running: harness.Running, models: Path) -> None:
    name = "many"
    running.create(ISVCS, declare(name, sklearn={"storageUri": str(models / "nothing0")}))

    def has_failed(generation: int) -> Any:
        def holds(isvc: dict[str, Any]) -> bool:
            ready = meta.condition(isvc, "PredictorReady") or {}
            seen = meta.dig(isvc, "status.observedGeneration", 0) >= generation
            return seen and ready.get("reason") == "ModelLoadFailed"

        return holds

    until(running, name, has_failed(1))
    generation = patch(running, name, model={"storageUri": str(models / "nothing1")})
    until(running, name, has_failed(generation))

    def remain(*numbers: int, others: Iterable[str] = ()) -> Any:
        wanted = {f"{name}-predictor-{number:05d}" for number in numbers} | {*others}

        def holds(found: list[Any]) -> bool:
            return names_of(found, name) == wanted

        return holds

    for path in (DEPLOYMENTS, SERVICES):
        running.until(path, remain(2))
    for uri in ("artifact", "logistic.joblib", "artifact"):
        generation = patch(running, name, model={"storageUri": str(models / uri)})
        until(running, name, lambda isvc, wanted=generation: is_ready(isvc, wanted))
    # The newest, and without pods the one before it.
    entry = f"{name}-predictor"  # the Service that leads to whichever has the traffic
    for path, more in ((DEPLOYMENTS, set()), (SERVICES, {entry})):
        running.until(path, remain(4, 5, others=more))
    assert traffic(running.get(f"{ISVCS}/{name}")) == {f"{name}-predictor-00005": 100}
    running.delete(f"{ISVCS}/{name}")


def test_what_a_pod_may_not_be_is_told_and_the_previous_version_answers(
    running: harness.Running, models: Path
) -> None:
    name = "odd"
    running.create(ISVCS, declare(name, sklearn={"storageUri": str(models / "artifact")}))
    until(running, name, is_ready)
    volumes = [{"name": "disk", "iscsi": {"targetPortal": "x", "iqn": "y", "lun": 0}}]
    generation = patch(running, name, volumes=volumes)

    def is_refused(isvc: dict[str, Any]) -> bool:
        ready = meta.condition(isvc, "PredictorReady") or {}
        seen = isvc["status"]["observedGeneration"] >= generation
        return seen and ready.get("reason") == "InvalidPredictorSpec"

    refused = until(running, name, is_refused, 30)
    assert "iscsi" in (meta.condition(refused, "PredictorReady") or {})["message"]
    assert set(Load(running, name).count(5)) == {f"{name}-predictor-00001"}
    generation = patch(running, name, volumes=None, nodeSelector={"kubernetes.io/os": "linux"})
    until(running, name, lambda isvc: is_ready(isvc, generation))
    assert set(Load(running, name).count(5)) == {f"{name}-predictor-00002"}
    running.delete(f"{ISVCS}/{name}")


def test_an_account_that_comes_later_is_waited_for_and_told(
    running: harness.Running, models: Path
) -> None:
    name = "tenant"
    sklearn = {"storageUri": str(models / "artifact")}
    running.create(ISVCS, declare(name, sklearn=sklearn, serviceAccountName=name))

    def is_told(isvc: dict[str, Any]) -> bool:
        ready = meta.condition(isvc, "PredictorReady") or {}
        return ready.get("reason") == "FailedCreate" and name in ready["message"]

    until(running, name, is_told, 30)
    accounts = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
    running.create(accounts, {"metadata": {"name": name}})
    until(running, name, is_ready)
    assert set(Load(running, name).count(5)) == {f"{name}-predictor-00001"}
    running.delete(f"{ISVCS}/{name}")


KSERVE = """
import sys
import kserve
from kubernetes import client

name, uri = sys.argv[1:]

def declare(**predictor):
    model = kserve.V1beta1ModelSpec(
        model_format=kserve.V1beta1ModelFormat(name="sklearn"), storage_uri=uri
    )
    return kserve.V1beta1InferenceService(
        api_version="serving.kserve.io/v1beta1",
        kind="InferenceService",
        metadata=client.V1ObjectMeta(name=name, namespace="default"),
        spec=kserve.V1beta1InferenceServiceSpec(
            predictor=kserve.V1beta1PredictorSpec(model=model, **predictor)
        ),
    )

api = kserve.KServeClient()
for refused in ({"max_replicas": 3}, {"batcher": kserve.V1beta1Batcher(max_batch_size=8)}):
    try:
        api.create(declare(**refused))
    except RuntimeError as error:
        print("refused", *refused, "spec.predictor" in str(error))
api.create(declare(
    timeout=30, container_concurrency=4, min_replicas=1, max_replicas=1,
    node_selector={"kubernetes.io/os": "linux"},
    tolerations=[client.V1Toleration(operator="Exists")],
))
api.wait_isvc_ready(name, namespace="default", timeout_seconds=150, polling_interval=1)
print("ready")
"""


def test_the_official_client_declares_what_is_honoured_and_hears_what_is_not(
    running: harness.Running, models: Path
) -> None:
    name = "official"
    said = running.client(KSERVE, name, str(models / "artifact"), timeout=200)
    lines = ["refused max_replicas True", "refused batcher True", "ready"]
    assert [line for line in said.splitlines() if line in lines] == lines
    labels = f"?labelSelector=serving.kserve.io/inferenceservice={name}"
    (pod,) = running.get(PODS + labels)["items"]
    assert pod["spec"]["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert {"operator": "Exists"} in pod["spec"]["tolerations"]
    running.delete(f"{ISVCS}/{name}")


def _domain(running: harness.Running) -> str:
    route = running.get(
        f"/apis/gateway.networking.k8s.io/v1/namespaces/{NAMESPACE}/httproutes/gone-host"
    )
    host: str = route["spec"]["hostnames"][0]
    return host.partition(".")[2]


LABELS = {"team": "flowers", "app.kubernetes.io/part-of": "garden"}
NOTES = {"example.com/owner": "ada", "serving.kserve.io/deploymentMode": "Standard"}


@pytest.fixture(scope="module")
def flowers(running: harness.Running, models: Path) -> dict[str, Any]:
    """A model under a name of its own, with labels and annotations, ready."""
    model = {
        "modelFormat": {"name": "sklearn"},
        "storageUri": "pvc://models/made/artifact",
        "args": ["--model_name=flowers"],
    }
    isvc = declare("renamed", model=model)
    isvc["metadata"] |= {"labels": LABELS, "annotations": NOTES}
    running.create(ISVCS, isvc)
    return until(running, "renamed", is_ready)


def ask(running: harness.Running, path: str, method: str = "POST") -> httpx.Response:
    url = f"{running.gateway}/serving/{NAMESPACE}/renamed{path}"
    headers = {"Authorization": f"Bearer {running.token}"}
    return httpx.request(method, url, headers=headers, json={"instances": [ROW["data"]]})


@pytest.mark.usefixtures("flowers")
def test_a_model_is_asked_by_the_name_that_its_arguments_give(running: harness.Running) -> None:
    other = ask(running, "/v1/models/renamed:predict")

    assert ask(running, "/v1/models/flowers:predict").status_code == 200
    assert (other.status_code, "flowers" in other.json()["error"]) == (404, True)


@pytest.mark.usefixtures("flowers")
def test_a_model_that_was_unloaded_stays_reachable_and_can_be_loaded(
    running: harness.Running,
) -> None:
    repository = "/v2/repository/models/flowers"
    try:
        assert ask(running, f"{repository}/unload").status_code == 200
        assert ask(running, "/v1/models/flowers:predict").status_code == 503
        assert ask(running, "/v2/models/flowers/ready", "GET").status_code == 503
        # What the readiness probe asks: the pod goes on taking requests, `load` among them.
        assert ask(running, "/v2/health/ready", "GET").status_code == 200
    finally:
        assert ask(running, f"{repository}/load").status_code == 200
    assert ask(running, "/v1/models/flowers:predict").status_code == 200


@pytest.mark.usefixtures("flowers")
def test_labels_and_annotations_reach_deployment_and_pods(running: harness.Running) -> None:
    selector = "?labelSelector=serving.kserve.io/inferenceservice%3Drenamed"
    (deployment,) = running.get(DEPLOYMENTS + selector)["items"]
    (pod,) = running.get(PODS + selector)["items"]

    for obj in (deployment, pod):
        assert LABELS.items() <= meta.labels(obj).items()
        assert meta.annotations(obj).get("example.com/owner") == "ada"
        assert "serving.kserve.io/deploymentMode" not in meta.annotations(obj)


@pytest.mark.usefixtures("flowers")
def test_pods_reach_the_predictor_by_kserves_name(running: harness.Running) -> None:
    if not running.is_sandboxed:
        pytest.skip("names resolve by /etc/hosts, which pods without a sandbox share")
    script = (
        "import json, urllib.request\n"
        f"host = 'renamed-predictor.{NAMESPACE}.svc.cluster.local'\n"
        "url = 'http://' + host + ':8080/v1/models/flowers:predict'\n"
        f"body = json.dumps({{'instances': [{ROW['data']}]}}).encode()\n"
        "print(urllib.request.urlopen(url, body).read().decode())\n"
    )
    container = {"name": "main", "image": "python:3.11", "command": ["python3", "-c", script]}
    spec = {"restartPolicy": "Never", "containers": [container]}
    running.create(PODS, {"metadata": {"name": "caller"}, "spec": spec})
    field = f"{PODS}?fieldSelector=metadata.name%3Dcaller"
    ended = ("Succeeded", "Failed")

    running.until(field, lambda pods: meta.dig(pods[0], "status.phase") in ended)

    _, log = running.request("GET", f"{PODS}/caller/log")
    assert json.loads(log.splitlines()[-1]) == {"predictions": [0]}
