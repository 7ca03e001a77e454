"""Which texts name an image, and the kubelet's words for those that don't."""

import pytest

from bessemer.kinds import imagereference


@pytest.mark.parametrize(
    "reference",
    [
        "busybox", "python:3.11", "library/python:3.11-slim", "localhost/a", "Registry/a:1",
        "registry.example:5000/team/a__b-c.d:V1_2", "ghcr.io/kubeflow/python@sha256:" + "0" * 64,
        "bessemer/modelserver:sklearn-1.9.1_xgboost-3.2.0", "a:1@sha256:" + "a" * 64,
        "[::1]:5000/a",
    ],
)  # fmt: skip
def test_what_names_an_image(reference: str) -> None:
    assert imagereference.refusal(reference) == ""


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("Repo/Name:1", "invalid reference format: repository name (Name) must be lowercase"),
        ("Name", "invalid reference format: repository name (library/Name) must be lowercase"),
        ("a b", "invalid reference format"),
        ("", "invalid reference format"),
        ("a:", "invalid reference format"),
        ("a:1:2", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("a/", "invalid reference format"),
        ("-a", "invalid reference format"),
        ("a@sha256:0", "invalid reference format"),
        ("a\n", "invalid reference format"),
        ("a:" + "t" * 129, "invalid reference format"),
        ("a" * 256, "repository name must not be more than 255 characters"),
        (
            "0" * 64,
            f"invalid repository name ({'0' * 64}), cannot specify 64-byte hexadecimal strings",
        ),
    ],
)
def test_what_names_none(reference: str, why: str) -> None:
    assert imagereference.refusal(reference) == (
        f'Failed to apply default image tag "{reference}": couldn\'t parse image name '
        f'"{reference}": {why}'
    )
