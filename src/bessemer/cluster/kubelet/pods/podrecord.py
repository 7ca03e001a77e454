"""A pod as the API has it: the newest object that is known, and what is written of the pod."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from bessemer.base import logs
from bessemer.base.logs import fields
from bessemer.cluster.kubelet.pods import status
from bessemer.cluster.kubelet.pods.dependencies import KubeletDependencies
from bessemer.cluster.kubelet.pods.plan import View
from bessemer.cluster.kubelet.pods.status import NodeAddresses
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.pod import POD
from bessemer.kube.client import DeleteOptions
from bessemer.kube.errors import Conflict, NotFound

_log = logs.get(__name__)


class PodRecord:
    """Follows one pod's object, and writes its status and Events.

    Args:
        place: what the status tells of the node.
    """

    def __init__(self, services: KubeletDependencies, pod: Object, place: NodeAddresses) -> None:
        self.pod = pod
        self.uid = meta.uid(pod)
        self.is_gone = False  # the object is deleted
        self._services = services
        self._place = place
        self._unwritten = ""  # why the status is not in the API

    def follow(self, pod: Object) -> bool:
        """Take a newer version of the object; False for one that is known or older."""
        if _version(pod) <= _version(self.pod) and pod is not self.pod:
            return False
        self.pod = pod
        return True

    def tell(self, type_: str, reason: str, message: str) -> None:
        """Have an Event of the pod written soon."""
        self._services.events.tell(self.pod, type_, reason, message)

    async def report(self, look: Callable[[], View]) -> None:
        """Write the status that the pod deserves, unless it has it.

        Args:
            look: what is known of its containers; asked again when somebody else wrote meanwhile.

        Raises:
            ApiError: it can't be written now.
        """
        while not self.is_gone:
            now = self._services.clock.now()
            wanted = status.build(self.pod, look(), self._place, now)
            if wanted == self.pod.get("status"):
                return
            try:
                stored = await self._services.client.update(
                    POD, {**self.pod, "status": wanted}, subresource="status"
                )
            except Conflict:
                if not await self._catch_up():
                    return
            except NotFound:
                return
            else:
                if _version(stored) > _version(self.pod):
                    self.pod = stored
                return

    async def _catch_up(self) -> bool:
        """Read the object anew; False when another pod has its name by now."""
        stored = await self._services.client.get(
            POD, meta.name(self.pod), meta.namespace(self.pod)
        )
        if meta.uid(stored) != self.uid:
            return False
        self.pod = stored
        return True

    def tell_unwritten(self, reason: str) -> None:
        """Log why the status is not written, or (empty) that it is again: once, not each time."""
        pod = meta.name(self.pod)
        if reason and reason != self._unwritten:
            _log.warning("pod status not written", extra=fields(pod=pod, reason=reason))
        elif self._unwritten and not reason:
            _log.warning("pod status written again", extra=fields(pod=pod))
        self._unwritten = reason

    async def delete(self) -> None:
        """Delete the object, now that nothing of the pod runs."""
        options = DeleteOptions(grace_seconds=0, uid=self.uid)
        with contextlib.suppress(NotFound, Conflict):
            await self._services.client.delete(
                POD, meta.name(self.pod), meta.namespace(self.pod), options
            )


def _version(obj: Object) -> int:
    return int(obj["metadata"]["resourceVersion"])
