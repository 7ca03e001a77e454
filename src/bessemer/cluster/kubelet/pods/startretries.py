"""When a container that could not be started is tried again, and what is said meanwhile. Pure.

Source: k8s.io/kubernetes pkg/kubelet/images/image_manager.go (back-off of images).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from bessemer.cluster.kubelet.errors import StartFailure
from bessemer.cluster.kubelet.pods.plan import WaitingReason

_RETRY_SECONDS = 10.0
_IMAGE_FIRST_SECONDS = 1.0
_IMAGE_MAX_SECONDS = 300.0
_IMAGE_REASONS = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName")


class Retry(NamedTuple):
    """What follows from a failed start."""

    trouble: WaitingReason
    back_off: str  # the message of an Event ``BackOff``; empty: none is written


def decide(failure: StartFailure, failures: int, image: str, now: datetime) -> Retry:
    """What follows from a failure to start a container.

    Args:
        failure: the latest one.
        failures: how often in a row it failed before.
        image: the container's image reference.
        now: when it failed.
    """
    reason, message, back_off = failure.reason, failure.message, ""
    wait = _RETRY_SECONDS
    if reason in _IMAGE_REASONS:
        # An image's own reason is said once, then that it is waited, each time for longer.
        wait = min(_RETRY_SECONDS * 2 ** max(failures - 1, 0), _IMAGE_MAX_SECONDS)
        if reason == "ErrImagePull" and failures:
            back_off = f'Back-off pulling image "{image}"'
            reason, message = "ImagePullBackOff", f"{back_off}: ErrImagePull: {message}"
        elif reason == "ErrImagePull":
            wait = _IMAGE_FIRST_SECONDS
    retry_at = now + timedelta(seconds=wait)
    return Retry(WaitingReason(reason, message, retry_at), back_off)


def can_change(trouble: WaitingReason) -> bool:
    """Whether a change of some object may end the trouble; none makes an image known."""
    return trouble.reason not in _IMAGE_REASONS
