"""What an InferenceService may declare: each field is honoured, refused by name, or ignored."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.kinds import meta
from bessemer.kinds.inferenceservice import (
    INFERENCE_SERVICE,
    default,
    is_stopped,
    validate,
)
from bessemer.kinds.kind import Object
from bessemer.kinds.servingruntime import shipped
from bessemer.serving import manifests, runtimes
from bessemer.serving.manifests import Address
from bessemer.serving.plan import Plan, Revision
from bessemer.serving.status import StatusFacts, make_status
from bessemer.serving.storage import Location

MODEL = {"modelFormat": {"name": "sklearn"}, "storageUri": "pvc://models/iris"}
LOCATION = Location("models", "/mnt/models", "/mnt/models/iris")
AUTOSCALER = "serving.kserve.io/autoscalerClass"
NOW = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)


def declare(notes: dict[str, str] | None = None, **predictor: Any) -> Object:
    isvc = meta.new(
        INFERENCE_SERVICE, "m", "team", annotations=notes, spec={"predictor": predictor}
    )
    isvc["metadata"]["uid"] = "u"
    default(isvc)
    return isvc


def refused(isvc: Object) -> list[str]:
    return [cause.field for cause in validate(isvc, None)]


def deploy(isvc: Object, **parts: Any) -> Object:
    """The Deployment by a shipped runtime that has those parts, too."""
    model = isvc["spec"]["predictor"]["model"]
    runtime = shipped("bessemer-system")[0]
    runtime["spec"].update(parts)
    values = {**runtimes.values_of(isvc), "ModelDir": "/mnt/models/iris", "Revision": "m-1"}
    container = runtimes.make_container(runtime, model, values)
    return manifests.make_deployment(isvc, 1, container, LOCATION, runtime)


def pod_of(isvc: Object) -> Object:
    assert refused(isvc) == []
    pod: Object = deploy(isvc)["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("affinity", {"nodeAffinity": {}}),
        ("imagePullSecrets", [{"name": "s"}]),
        ("nodeSelector", {"disk": "fast"}),
        ("priorityClassName", "high"),
        ("securityContext", {"runAsNonRoot": True}),
        ("serviceAccountName", "trainer"),
        ("terminationGracePeriodSeconds", 5),
        ("tolerations", [{"operator": "Exists"}]),
        ("topologySpreadConstraints", [{"maxSkew": 1}]),
    ],
)
def test_what_the_predictor_says_of_its_pods_reaches_them(name: str, value: Any) -> None:
    assert pod_of(declare(model=MODEL, **{name: value}))[name] == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("envFrom", [{"configMapRef": {"name": "c"}}]),
        ("image", "mine:1"),
        ("livenessProbe", {"httpGet": {"path": "/v2/health/live", "port": 8080}}),
        ("readinessProbe", {"tcpSocket": {"port": 8080}}),
        ("resources", {"limits": {"cpu": "1"}}),
    ],
)
def test_what_the_model_says_of_its_container_reaches_it(name: str, value: Any) -> None:
    container = pod_of(declare(model={**MODEL, name: value}))["containers"][0]
    assert container[name] == value
    assert container["name"] == "kserve-container"


def test_own_volumes_stand_beside_the_models() -> None:
    model = {**MODEL, "volumeMounts": [{"name": "cache", "mountPath": "/cache"}]}
    pod = pod_of(declare(model=model, volumes=[{"name": "cache", "emptyDir": {}}]))
    assert [volume["name"] for volume in pod["volumes"]] == ["cache", "model"]
    mounts = pod["containers"][0]["volumeMounts"]
    assert [mount["mountPath"] for mount in mounts] == ["/cache", "/mnt/models"]


def test_labels_and_annotations_reach_the_pods_but_not_over_ours() -> None:
    labels = {"team": "a", manifests.REVISION_LABEL: "stolen"}
    isvc = declare(model=MODEL, labels=labels, annotations={"note": "b"})
    metadata = deploy(isvc)["spec"]["template"]["metadata"]
    assert metadata["labels"]["team"] == "a"
    assert metadata["labels"][manifests.REVISION_LABEL] == "m-predictor-00001"
    assert metadata["annotations"] == {"note": "b"}


def test_what_the_runtime_says_of_its_pods_reaches_them_unless_the_predictor_says_else() -> None:
    isvc = declare(model=MODEL, nodeSelector={"disk": "fast"}, labels={"team": "a"})
    template = deploy(
        isvc,
        labels={"team": "b", "by": "runtime"},
        annotations={"prometheus.kserve.io/port": "8080"},
        nodeSelector={"disk": "slow"},
        tolerations=[{"operator": "Exists"}],
        volumes=[{"name": "shm", "emptyDir": {}}],
    )["spec"]["template"]
    assert template["metadata"]["labels"]["team"] == "a"
    assert template["metadata"]["labels"]["by"] == "runtime"
    assert template["metadata"]["annotations"] == {"prometheus.kserve.io/port": "8080"}
    assert template["spec"]["nodeSelector"] == {"disk": "fast"}
    assert template["spec"]["tolerations"] == [{"operator": "Exists"}]
    assert [volume["name"] for volume in template["spec"]["volumes"]] == ["shm", "model"]


def test_a_token_is_mounted_only_for_a_named_account() -> None:
    assert pod_of(declare(model=MODEL))["automountServiceAccountToken"] is False
    named = declare(model=MODEL, serviceAccountName="s")
    assert pod_of(named)["automountServiceAccountToken"] is True
    asked = declare(model=MODEL, automountServiceAccountToken=True)
    assert pod_of(asked)["automountServiceAccountToken"] is True


def test_the_timeout_is_the_routes_and_makes_no_revision() -> None:
    plain, hurried = declare(model=MODEL), declare(model=MODEL, timeout=7)
    address = Address("http://gateway", "localhost")
    for route in manifests.make_routes(hurried, {"r": 100}, address):
        assert [rule["timeouts"] for rule in route["spec"]["rules"]] == [{"request": "7s"}]
    for route in manifests.make_routes(plain, {"r": 100}, address):
        assert "timeouts" not in route["spec"]["rules"][0]
    assert manifests.digest_of(plain) == manifests.digest_of(hurried)


@pytest.mark.parametrize(
    "name",
    [
        "autoScaling", "batcher", "containers", "deploymentStrategy", "explainer", "hostNetwork",
        "initContainers", "logger", "lightgbm", "pytorch", "scaleMetric", "scaleMetricType",
        "scaleTarget", "storageUris", "tensorflow", "workerSpec",
    ],
)  # fmt: skip
def test_what_is_not_supported_is_refused_by_name(name: str) -> None:
    assert refused(declare(model=MODEL, **{name: {}})) == [f"spec.predictor.{name}"]
    assert refused(declare(model=MODEL, **{name: None})) == []


@pytest.mark.parametrize("name", ["transformer", "explainer", "canary", "workerSpec"])
def test_other_components_are_refused_by_name(name: str) -> None:
    isvc = declare(model=MODEL)
    isvc["spec"][name] = {}
    assert refused(isvc) == [f"spec.{name}"]


@pytest.mark.parametrize(
    ("notes", "replicas", "expected"),
    [
        ({}, {"maxReplicas": 3}, ["spec.predictor.maxReplicas"]),
        ({}, {"minReplicas": 0, "maxReplicas": 2}, ["spec.predictor.maxReplicas"]),
        ({}, {"minReplicas": 3, "maxReplicas": 2}, ["spec.predictor.minReplicas"]),
        ({}, {"minReplicas": 2, "maxReplicas": 2}, []),
        ({}, {"minReplicas": 0, "maxReplicas": 1}, []),
        ({}, {"minReplicas": 2, "maxReplicas": 0}, []),
        ({AUTOSCALER: "none"}, {"maxReplicas": 3}, []),
        ({AUTOSCALER: "external"}, {"maxReplicas": 3}, []),
        ({AUTOSCALER: "hpa"}, {"maxReplicas": 3}, ["spec.predictor.maxReplicas"]),
        ({AUTOSCALER: "keda"}, {}, [f"metadata.annotations[{AUTOSCALER}]"]),
        ({}, {"containerConcurrency": 4}, []),
        ({}, {"containerConcurrency": -1}, ["spec.predictor.containerConcurrency"]),
        ({}, {"timeout": -1}, ["spec.predictor.timeout"]),
        ({}, {"timeout": 100_000}, ["spec.predictor.timeout"]),
        ({}, {"timeout": "60"}, ["spec.predictor.timeout"]),
        ({}, {"canaryTrafficPercent": 101}, ["spec.predictor.canaryTrafficPercent"]),
        ({}, {"labels": ["a"]}, ["spec.predictor.labels"]),
    ],
)
def test_numbers_and_scaling(
    notes: dict[str, str], replicas: dict[str, Any], expected: list[str]
) -> None:
    assert refused(declare(notes, model=MODEL, **replicas)) == expected


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ({"args": "--one"}, "args"),
        ({"env": ["A=1"]}, "env[0].name"),
        ({"modelFormat": {"name": "sklearn", "version": 1.5}}, "modelFormat.version"),
        ({"runtimeVersion": 2}, "runtimeVersion"),
        ({"storage": {"key": "k"}}, "storage"),
        ({"command": ["sh"]}, "command"),
        ({"protocolVersion": "v3"}, "protocolVersion"),
    ],
)
def test_wrong_parts_of_the_model_are_refused(part: dict[str, Any], field: str) -> None:
    assert refused(declare(model={**MODEL, **part})) == [f"spec.predictor.model.{field}"]


def test_the_old_form_is_written_as_a_model() -> None:
    old = {"storageUri": "pvc://models/iris"}
    for isvc in (declare(sklearn=old), declare(sklearn=old, model={**MODEL, "storageUri": "/x"})):
        assert refused(isvc) == []
        assert isvc["spec"]["predictor"]["model"] == {**MODEL, "protocolVersion": "v1"}
    both = ["spec.predictor.sklearn", "spec.predictor.xgboost"]
    assert refused(declare(sklearn=old, xgboost=old)) == both
    assert refused(declare(sklearn="x", model=MODEL)) == ["spec.predictor.sklearn"]
    assert refused(declare(sklearn=None)) == ["spec.predictor.model"]


_LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
_ANYTHING = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
_FIELDS = st.sampled_from([
    "affinity", "annotations", "batcher", "canaryTrafficPercent", "imagePullSecrets", "labels",
    "maxReplicas", "minReplicas", "model", "nodeSelector", "sklearn", "timeout", "volumes",
])  # fmt: skip
_MODEL_FIELDS = st.sampled_from([
    "args", "env", "image", "modelFormat", "protocolVersion", "resources", "runtimeVersion",
    "storageUri", "volumeMounts",
])  # fmt: skip


@given(
    st.dictionaries(_FIELDS, _ANYTHING, max_size=3),
    st.dictionaries(_MODEL_FIELDS, _ANYTHING, max_size=2),
)
def test_whatever_is_declared_is_refused_or_becomes_objects(
    predictor: dict[str, Any], model: dict[str, Any]
) -> None:
    isvc = declare(**{"model": {**MODEL, **model}, **predictor})
    if not validate(isvc, None):
        assert deploy(isvc)["spec"]["replicas"] >= 1
        manifests.make_routes(isvc, {"r": 100}, Address("http://gateway", "localhost"))


def conditions_of(status: Object) -> dict[str, tuple[str, str | None]]:
    entries = status["conditions"]
    return {entry["type"]: (entry["status"], entry.get("reason")) for entry in entries}


def test_a_stopped_one_says_so_and_keeps_only_the_last_number() -> None:
    isvc = declare({"serving.kserve.io/stop": "True"}, model=MODEL)
    assert is_stopped(isvc)
    assert not is_stopped(declare({"serving.kserve.io/stop": "false"}, model=MODEL))
    isvc["status"] = {
        "url": "http://gateway/serving/team/m",
        "components": {"predictor": {"latestCreatedRevision": "m-predictor-00003"}},
        "modelStatus": {"transitionStatus": "UpToDate"},
    }
    step = Plan((), {}, "", "", "")
    status = make_status(isvc, StatusFacts(step, {}, "http://g", routed=False, stopped=True), NOW)
    told = conditions_of(status)
    assert told == {
        "PredictorReady": ("False", "Stopped"),
        "LatestDeploymentReady": ("False", "Stopped"),
        "IngressReady": ("False", "Stopped"),
        "Ready": ("False", "Stopped"),
        "Stopped": ("True", None),
    }
    assert status["components"] == {"predictor": {"latestCreatedRevision": "m-predictor-00003"}}
    assert {"url", "address", "modelStatus"}.isdisjoint(status)
    resumed = Plan((), {"r4": 100}, "r4", "", "r4")
    revisions = {"r4": Revision("r4", 4, "d", ready=1)}
    facts = StatusFacts(resumed, revisions, "http://g", routed=True)
    status = make_status({**isvc, "status": status}, facts, NOW)
    told = conditions_of(status)
    assert told["Stopped"] == ("False", None)
    assert told["Ready"] == ("True", None)
