"""What a storageUri means, and which runtime serves a format."""

from pathlib import Path
from typing import Any

import pytest

from bessemer.base.home import Home
from bessemer.resources import meta
from bessemer.resources.servingruntime import SERVING_RUNTIME, shipped, validate
from bessemer.serving import runtimes
from bessemer.serving.errors import Unservable
from bessemer.serving.storage import Location, locate, volumes_of

RESOLVE = volumes_of(Home(Path("/home/bessemer")))
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
    assert locate("team", uri, RESOLVE) == expected


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
    ],
)
def test_uris_that_are_refused(uri: str, reason: str) -> None:
    with pytest.raises(Unservable) as refused:
        locate("team", uri, RESOLVE)
    assert refused.value.reason == reason
    assert uri in str(refused.value)


def model(name: str = "sklearn", **parts: Any) -> dict[str, Any]:
    return {"modelFormat": {"name": name, **parts.pop("form", {})}, **parts}


def image(wanted: dict[str, Any], known: list[dict[str, Any]]) -> str:
    runtime = runtimes.select(wanted, known, "team")
    found: str = runtimes.make_container(runtime, wanted, {})["image"]
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
                "args": ["--name={{.Name}}", "{{ .Unknown }}"],
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}],
            }
        ],
    }
    own = meta.new(SERVING_RUNTIME, "own", "team", spec=spec)
    wanted = model(env=[{"name": "B", "value": "2"}], args=["--more"])
    runtime = runtimes.select(wanted, [*shipped("bessemer-system"), own], "team")
    container = runtimes.make_container(runtime, wanted, {"Name": "iris"})
    assert container["args"] == ["--name=iris", "{{ .Unknown }}", "--more"]
    assert container["env"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    assert "{{.Name}}" in own["spec"]["containers"][0]["args"][0]


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
