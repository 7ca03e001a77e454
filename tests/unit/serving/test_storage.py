"""What a storageUri means, and which runtime serves a format."""

from pathlib import Path
from typing import Any

import pytest

from bessemer.artifacts.claim import ClaimStore
from bessemer.base.clock import SystemClock
from bessemer.kinds import meta
from bessemer.kinds.inferenceservice import INFERENCE_SERVICE
from bessemer.kinds.servingruntime import SERVING_RUNTIME, shipped, validate
from bessemer.serving import runtimes
from bessemer.serving.errors import Unservable
from bessemer.serving.storage import Location, locate

#: What a URI means is told by text alone: no API is asked.
STORE = ClaimStore(None, SystemClock(), Path("/home/bessemer/volumes"))  # type: ignore[arg-type]
VALUES = {"Name": "iris", "ModelDir": "/mnt/models/iris", "Revision": "iris-1"}
VOLUME = "/home/bessemer/volumes/team/data"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (f"{VOLUME}/run/model", Location("data", VOLUME, f"{VOLUME}/run/model")),
        (f"file://{VOLUME}/run/model/", Location("data", VOLUME, f"{VOLUME}/run/model")),
        (VOLUME, Location("data", VOLUME, VOLUME)),
        ("pvc://data/run/model", Location("data", "/mnt/models", "/mnt/models/run/model")),
        ("pvc://data", Location("data", "/mnt/models", "/mnt/models")),
    ],
)
def test_uris_that_are_served(uri: str, expected: Location) -> None:
    assert locate("team", uri, STORE) == expected


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("s3://bucket/model", "StorageUriNotSupported"),
        ("relative/model", "StorageUriNotSupported"),
        ("/home/bessemer/volumes/other/data/model", "StorageUriNotSupported"),
        ("/home/bessemer/volumes/team", "StorageUriNotSupported"),
        (f"{VOLUME}/../../other/data/model", "StorageUriNotSupported"),
        ("pvc:///model", "InvalidStorageUri"),
        ("pvc://data/../../etc", "InvalidStorageUri"),
        ("pvc://data/a\0b", "InvalidStorageUri"),
        (f"{VOLUME}/a\0b", "StorageUriNotSupported"),
    ],
)
def test_uris_that_are_refused(uri: str, reason: str) -> None:
    with pytest.raises(Unservable) as refused:
        locate("team", uri, STORE)
    assert refused.value.reason == reason
    assert repr(uri) in str(refused.value)


def model(name: str = "sklearn", **parts: Any) -> dict[str, Any]:
    return {"modelFormat": {"name": name, **parts.pop("form", {})}, **parts}


def image(wanted: dict[str, Any], known: list[dict[str, Any]]) -> str:
    runtime = runtimes.select(wanted, known, "team")
    found: str = runtimes.make_container(runtime, wanted, VALUES)["image"]
    return found


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (model(), "bessemer/modelserver:sklearn-1.9.1"),
        (model(protocolVersion="v2"), "bessemer/modelserver:sklearn-1.9.1"),
        (model(form={"version": "1"}), "bessemer/modelserver:sklearn-1.9.1"),
        (model(form={"version": "1.5.2"}), "bessemer/modelserver:sklearn-1.5.2"),
        (model(runtimeVersion="1.6.0"), "bessemer/modelserver:sklearn-1.6.0"),
        (
            model("xgboost", runtimeVersion="3.1.0"),
            "bessemer/modelserver:xgboost-3.1.0_sklearn-1.9.1",
        ),
    ],
)
def test_shipped_runtimes_and_versions(wanted: dict[str, Any], expected: str) -> None:
    assert image(wanted, shipped("bessemer-system")) == expected


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (model("onnx"), "NoSupportingRuntime"),
        (model(form={"version": "0.24"}), "NoSupportingRuntime"),
        (model(protocolVersion="grpc-v2"), "NoSupportingRuntime"),
        (model(runtime="mine"), "RuntimeNotRecognized"),
    ],
)
def test_unserved_formats(wanted: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unservable) as refused:
        runtimes.select(wanted, shipped("bessemer-system"), "team")
    assert refused.value.reason == reason
    assert "sklearn" in str(refused.value)


def test_the_namespaces_own_runtime_goes_first_and_gets_its_values() -> None:
    spec = {
        "supportedModelFormats": [{"name": "sklearn", "autoSelect": True}],
        "containers": [
            {
                "name": "kserve-container",
                "image": "mine:1",
                "args": ["--name={{.Name}}", "{{ .Labels.kind }}"],
                "env": [{"name": "A", "value": "{{.Namespace}}"}, {"name": "B", "value": "1"}],
            }
        ],
    }
    own = meta.new(SERVING_RUNTIME, "own", "team", spec=spec)
    wanted = model(env=[{"name": "B", "value": "2"}], args=["--more"])
    runtime = runtimes.select(wanted, [*shipped("bessemer-system"), own], "team")
    isvc = meta.new(INFERENCE_SERVICE, "iris", "team", labels={"kind": "tree"})
    container = runtimes.make_container(runtime, wanted, runtimes.values_of(isvc))
    assert container["args"] == ["--name=iris", "tree", "--more"]
    assert container["env"] == [{"name": "A", "value": "team"}, {"name": "B", "value": "2"}]
    assert "{{.Name}}" in own["spec"]["containers"][0]["args"][0]


@pytest.mark.parametrize("text", ["{{.Unknown}}", "{{ .Labels.kind }}", "{{index .Labels 1}}"])
def test_a_placeholder_without_a_value_is_refused_by_name(text: str) -> None:
    spec = {"containers": [{"name": "c", "image": "x", "env": [{"name": "A", "value": text}]}]}
    runtime = meta.new(SERVING_RUNTIME, "own", "team", spec=spec)
    with pytest.raises(Unservable) as refused:
        runtimes.make_container(runtime, model(), VALUES)
    assert refused.value.reason == "InvalidPredictorSpec"
    assert text in str(refused.value)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("mine:1", "mine:2.0"),
        ("mine", "mine:2.0"),
        ("localhost:5000/mine", "localhost:5000/mine:2.0"),
        ("localhost:5000/mine:1", "localhost:5000/mine:2.0"),
    ],
)
def test_the_runtime_version_is_the_tag_of_an_own_image(given: str, expected: str) -> None:
    spec = {"containers": [{"name": "kserve-container", "image": given}]}
    runtime = meta.new(SERVING_RUNTIME, "own", "team", spec=spec)
    wanted = model(runtimeVersion="2.0")
    assert runtimes.make_container(runtime, wanted, VALUES)["image"] == expected


def test_a_disabled_runtime_that_is_named_is_told_apart_from_one_that_is_not_there() -> None:
    own = meta.new(SERVING_RUNTIME, "own", "team", spec={"disabled": True, "containers": []})
    with pytest.raises(Unservable) as refused:
        runtimes.select(model(runtime="own"), [own, *shipped("bessemer-system")], "team")
    assert refused.value.reason == "RuntimeDisabled"


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({"supportedModelFormats": [{"name": "x", "priority": "high"}]}, "[0].priority"),
        ({"supportedModelFormats": [{"name": "x", "priority": True}]}, "[0].priority"),
        ({"supportedModelFormats": [{"name": "x", "version": 1.5}]}, "[0].version"),
        ({"supportedModelFormats": {"name": "x"}}, "supportedModelFormats"),
        ({"protocolVersions": "v1"}, "protocolVersions"),
        ({"labels": ["x"]}, "labels"),
        ({"workerSpec": {"size": 2}}, "workerSpec"),
        ({"hostIPC": True}, "hostIPC"),
        ({"containers": [{"name": "c"}]}, "containers[0].image"),
        ({"containers": [{"name": "c", "image": "x"}] * 2}, "containers"),
        ({"containers": [{"name": "c", "image": "x", "args": "y"}]}, "containers[0].args"),
        ({"containers": [{"name": "c", "image": "x", "env": [{}]}]}, "containers[0].env[0].name"),
    ],
)
def test_a_runtime_that_makes_no_pod_is_refused_by_name(parts: dict[str, Any], field: str) -> None:
    spec = {"containers": [{"name": "kserve-container", "image": "x"}], **parts}
    (cause,) = validate(meta.new(SERVING_RUNTIME, "own", "team", spec=spec), None)
    assert cause.field.startswith("spec.")
    assert cause.field.endswith(field)


def test_a_runtime_need_not_name_a_format_and_serves_none_by_itself() -> None:
    spec = {"containers": [{"name": "kserve-container", "image": "mine:1"}]}
    plain = meta.new(SERVING_RUNTIME, "plain", "team", spec=spec)
    assert validate(plain, None) == []
    assert runtimes.select(model(), [plain, *shipped("bessemer-system")], "team") is not plain
    with pytest.raises(Unservable):
        runtimes.select(model(runtime="plain"), [plain], "team")
    spec["supportedModelFormats"] = [{"version": "1"}]
    assert [cause.field for cause in validate(plain, None)] == [
        "spec.supportedModelFormats[0].name"
    ]
