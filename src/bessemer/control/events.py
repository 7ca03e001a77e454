"""Events: what happened to an object, for people; repeats are counted, not repeated.

Source: client-go tools/record.
"""

from __future__ import annotations

import logging

from bessemer.base import ids, logs
from bessemer.base.clock import Clock, format_time
from bessemer.base.logs import fields
from bessemer.kinds import meta
from bessemer.kinds.event import EVENT
from bessemer.kinds.kind import Object
from bessemer.kube.client import Client
from bessemer.kube.errors import AlreadyExists, ApiError, NotFound, is_terminating

_log = logs.get(__name__)

# Names are at most 253 characters; the rest is for the hash.
_NAME_CHARS = 240
# As upstream's limit for Event.message.
_MESSAGE_CHARS = 1024


class EventRecorder:
    """Writes core/v1 Events of one component.

    The name of an Event is a hash of what it says, so a repeat finds the first one, after a
    restart too.
    """

    def __init__(self, client: Client, component: str, clock: Clock) -> None:
        self._client = client
        self._component = component
        self._clock = clock

    async def record(self, obj: Object, type: str, reason: str, message: str) -> None:  # noqa: A002 - the field's name
        """Say that something happened to the object; "Normal" or "Warning".

        A failure to say so is only logged: nobody's work depends on an Event.
        """
        message = message[:_MESSAGE_CHARS]
        event = self._make(obj, type, reason, message)
        try:
            try:
                await self._client.create(EVENT, event)
            except AlreadyExists:
                await self._repeat(event)
        except ApiError as error:
            # What goes with its namespace needs no Event any more.
            is_late = isinstance(error, NotFound) or is_terminating(error)
            _log.log(
                logging.DEBUG if is_late else logging.WARNING,
                "event not recorded",
                extra=fields(reason=reason, error=str(error), message=message),
            )

    def _make(self, obj: Object, type_: str, reason: str, message: str) -> Object:
        name, namespace, uid = meta.name(obj), meta.namespace(obj), obj["metadata"].get("uid", "")
        now = format_time(self._clock.now())
        mark = ids.hash_name(uid, self._component, type_, reason, message)
        return {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {
                "name": f"{name[:_NAME_CHARS].rstrip('-.')}.{mark}",
                "namespace": namespace or "default",
            },
            "involvedObject": {
                "apiVersion": obj["apiVersion"],
                "kind": obj["kind"],
                "name": name,
                "namespace": namespace,
                "uid": uid,
                "resourceVersion": obj["metadata"].get("resourceVersion", ""),
            },
            "type": type_,
            "reason": reason,
            "message": message,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": "",
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }

    async def _repeat(self, event: Object) -> None:
        name, namespace = meta.name(event), meta.namespace(event)
        known = await self._client.get(EVENT, name, namespace)
        patch = {"count": known.get("count", 1) + 1, "lastTimestamp": event["lastTimestamp"]}
        await self._client.patch(EVENT, name, namespace, patch)
