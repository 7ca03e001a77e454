"""Reading a container's log: the port that the API server's ``pods/log`` goes through."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from bessemer.kinds.kind import Object
from bessemer.kube.client import LogOptions
from bessemer.kube.errors import BadRequest


class LogPruned(BadRequest):
    """There was a log, but ``bessemer prune`` deleted it."""


class PodLogs(Protocol):
    """The logs of this node's pods."""

    def read(self, pod: Object, options: LogOptions) -> AsyncIterator[bytes]:
        """The log's bytes, in pieces; with ``follow`` until the container ended.

        The first piece comes as soon as there is a log, and is empty while nothing is in it.

        Raises:
            kube.errors.BadRequest: no such container, or several and none named, or it has not
                started yet; in upstream's words. Or there was a log, and it was pruned.
        """
        ...
