"""The tag of a model server's image: its grammar, read and written in one place."""

import pytest

from bessemer.kinds import modelserverimage
from bessemer.kinds.modelserverimage import Part


def test_a_tag_is_read_as_it_is_written() -> None:
    parts = (Part("xgboost", "3.2.0"), Part("sklearn", "1.9.1"), Part("python", "3.12"))

    image = modelserverimage.reference(*parts)

    assert image == "bessemer/modelserver:xgboost-3.2.0_sklearn-1.9.1_python-3.12"
    assert modelserverimage.is_one(image)
    assert modelserverimage.parse(image.partition(":")[2]) == parts


@pytest.mark.parametrize("tag", ["", "latest", "sklearn", "sklearn-", "sklearn-1_", "-1.0"])
def test_what_is_no_tag_of_a_model_server(tag: str) -> None:
    with pytest.raises(ValueError, match="framework-version"):
        modelserverimage.parse(tag)


@pytest.mark.parametrize(
    ("tag", "pinned"),
    [
        ("xgboost-3.2.0_sklearn-1.9.1", "xgboost-3.1.0_sklearn-1.9.1"),
        ("sklearn-1.9.1", "sklearn-1.9.1"),
        ("latest", "latest"),
    ],
)
def test_a_framework_is_pinned_and_the_rest_stays(tag: str, pinned: str) -> None:
    image = modelserverimage.pin(f"bessemer/modelserver:{tag}", "xgboost", "3.1.0")

    assert image == f"bessemer/modelserver:{pinned}"
