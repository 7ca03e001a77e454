"""Why a container could not be started yet.

::

    StartFailure                  its waiting reason, what the event says, how it is retried
"""

from __future__ import annotations

from bessemer.base.errors import BessemerError


class StartFailure(BessemerError):
    """A container can't be started now; the pod's status and an Event say so.

    Attributes:
        reason: the waiting state's reason; what kubectl shows.
        event: the Event's reason.
    """

    def __init__(self, reason: str, message: str, *, event: str = "Failed") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.event = event


def config_error(message: str) -> StartFailure:
    """Something that the container's environment refers to is not there."""
    return StartFailure("CreateContainerConfigError", message)


def mount_error(volume: str, message: str) -> StartFailure:
    """Something that a volume refers to is not there."""
    text = f'MountVolume.SetUp failed for volume "{volume}" : {message}'
    return StartFailure("ContainerCreating", text, event="FailedMount")


class BuildFailure(BessemerError):
    """An environment could not be made; the text ends with uv's last lines."""


class PodInstalls(BuildFailure):
    """An environment is not made ahead: it needs code of the packages, or files of the server."""
