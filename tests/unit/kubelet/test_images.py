"""What image names mean on one machine."""

from __future__ import annotations

import pytest

from bessemer.app.images import IMAGES
from bessemer.cluster.kubelet.errors import StartFailure
from bessemer.kinds import imagereference


@pytest.mark.parametrize(
    ("reference", "python"),
    [
        ("python:3.11", "3.11"), ("python:3.12.1-slim", "3.12"), ("python", ""),
        ("python:3", ""), ("python:alpine3.9", ""), ("python:latest", ""),
        ("docker.io/library/python:3.10", "3.10"),
        ("registry.access.redhat.com/ubi9/python-311:latest", "3.11"),
        ("ghcr.io/kubeflow/some/python-base:3.12", "3.12"),
        ("python@sha256:" + "0" * 64, ""), ("python:3.12@sha256:" + "0" * 64, "3.12"),
        ("public.ecr.aws/docker/library/python:3.12", "3.12"),
        ("mirror.gcr.io/library/python:3.12-slim", "3.12"), ("docker.io/python:3.12", "3.12"),
        ("registry-1.docker.io/library/python:3.12", "3.12"),
    ],
)  # fmt: skip
def test_pythons(reference: str, python: str) -> None:
    assert IMAGES.resolve(reference).python == python


@pytest.mark.parametrize(
    "reference", ["busybox", "alpine:3.20", "library/bash", "debian:12", "docker.io/ubuntu"]
)
def test_userlands(reference: str) -> None:
    image = IMAGES.resolve(reference)
    assert image.is_userland
    assert image.python is None


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("alpine:3.20", "image alpine:3.20 is not pulled: this machine's own programs"),
        ("python@sha256:" + "0" * 64, "an environment of Python runs instead"),
        ("python:3.12", ""), ("bessemer/envoy:1.40", ""), ("nginx", ""), ("a b", ""),
    ],
)  # fmt: skip
def test_what_runs_instead_is_told(reference: str, told: str) -> None:
    assert told in IMAGES.stand_in(reference)
    assert bool(IMAGES.stand_in(reference)) == bool(told)


def test_envoy_runs_in_the_servers_environment() -> None:
    image = IMAGES.resolve("bessemer/envoy:1.40")
    assert (image.is_own, image.entrypoint) == (True, ("envoy",))


def test_a_model_servers_tag_is_its_packages() -> None:
    image = IMAGES.resolve("bessemer/modelserver:xgboost-3.2.0_sklearn-1.9.1_python-3.12")
    requirements = image.installs[0].requirements
    assert image.python == "3.12"
    assert image.packages == ("base", "modelserver")
    assert "scikit-learn==1.9.1" in requirements
    assert "xgboost-cpu==3.2.0; sys_platform == 'linux'" in requirements
    assert {"numpy", "uvicorn", "orjson"} <= set(requirements)


@pytest.mark.parametrize(
    "reference",
    [
        "nginx", "gcr.io/google-samples/x:1", "bessemer/nothing", "bessemer/modelserver:latest",
        "localhost:5000/python:3.11", "public.ecr.aws/someone/python:3.12", "someone/python:3.12",
        "mirror.gcr.io/python:3.12", "docker.io/someone/python:3.12", "quay.io/library/python",
    ],
)  # fmt: skip
def test_what_is_not_known_says_what_is(reference: str) -> None:
    with pytest.raises(StartFailure) as caught:
        IMAGES.resolve(reference)
    assert caught.value.reason == "ErrImagePull"
    assert reference in caught.value.message


@pytest.mark.parametrize("reference", ["", ":1", "a b", "x/"])
def test_what_is_no_reference(reference: str) -> None:
    with pytest.raises(StartFailure) as caught:
        IMAGES.resolve(reference)
    assert caught.value.reason == "InvalidImageName"


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("a", ("a", "latest")), ("a:1", ("a", "1")), ("r:5000/a", ("r:5000/a", "latest")),
        ("r:5000/b/a:2", ("r:5000/b/a", "2")), ("a@sha256:0", ("a", "")),
    ],
)  # fmt: skip
def test_splitting(reference: str, parts: tuple[str, str]) -> None:
    assert imagereference.split(reference) == parts
