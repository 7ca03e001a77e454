"""When a container that could not be started is tried again."""

from datetime import UTC, datetime, timedelta

import pytest

from bessemer.cluster.kubelet.errors import StartFailure
from bessemer.cluster.kubelet.pods import startretries

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def decide(reason: str, failures: int) -> startretries.Retry:
    return startretries.decide(StartFailure(reason, "why"), failures, "nginx:1", NOW)


@pytest.mark.parametrize(
    ("failures", "seconds", "reason"),
    [
        (0, 1, "ErrImagePull"), (1, 10, "ImagePullBackOff"), (2, 20, "ImagePullBackOff"),
        (5, 160, "ImagePullBackOff"), (6, 300, "ImagePullBackOff"), (99, 300, "ImagePullBackOff"),
    ],
)  # fmt: skip
def test_an_image_is_asked_for_less_and_less_often(
    failures: int, seconds: int, reason: str
) -> None:
    retry = decide("ErrImagePull", failures)

    assert (retry.trouble.retry_at - NOW, retry.trouble.reason) == (
        timedelta(seconds=seconds),
        reason,
    )
    assert bool(retry.back_off) == (failures > 0)
    assert retry.trouble.message.endswith("why")


@pytest.mark.parametrize("failures", [0, 1, 50])
def test_what_else_is_missing_is_looked_for_every_ten_seconds(failures: int) -> None:
    retry = decide("CreateContainerConfigError", failures)

    assert retry.trouble.retry_at - NOW == timedelta(seconds=10)
    assert (retry.trouble.reason, retry.back_off) == ("CreateContainerConfigError", "")


def test_no_change_of_an_object_makes_an_image_known() -> None:
    reasons = ("ErrImagePull", "InvalidImageName", "CreateContainerConfigError")

    assert [startretries.can_change(decide(one, 1).trouble) for one in reasons] == [
        False,
        False,
        True,
    ]
