"""Events end an hour after they last happened, so that they don't fill the store.

Source: kube-apiserver --event-ttl.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from bessemer.base import logs
from bessemer.base.clock import Clock, parse_time
from bessemer.base.logs import fields
from bessemer.cluster.apiserver.machine import Machine
from bessemer.kinds.event import EVENT
from bessemer.kinds.kind import Object
from bessemer.kube.client import DeleteOptions
from bessemer.kube.errors import ApiError
from bessemer.kube.requests import Target

_log = logs.get(__name__)

EVENT_LIFE = timedelta(hours=1)
_ROUND_SECONDS = 300.0


class EventExpiry:
    """Deletes Events that are over."""

    def __init__(self, machine: Machine, clock: Clock) -> None:
        self._machine = machine
        self._clock = clock

    async def run(self) -> None:
        """Look every few minutes, for ever."""
        while True:
            await self.sweep()
            await self._clock.sleep(_ROUND_SECONDS)

    async def sweep(self) -> None:
        """Delete what is over now."""
        oldest = self._clock.now() - EVENT_LIFE
        for record in self._machine.list(EVENT).records:
            if _last_seen(record.object) >= oldest:
                continue
            target = Target(EVENT, record.key.namespace, record.key.name)
            same = DeleteOptions(resource_version=str(record.version))
            try:
                await self._machine.delete(target, same)
            except ApiError as error:
                # It happened again meanwhile, is gone, or the disk is full: the next round sees.
                _log.debug("event kept", extra=fields(key=record.key, reason=str(error)))


def _last_seen(event: Object) -> datetime:
    series = event.get("series") or {}
    created = event["metadata"]["creationTimestamp"]
    told = [series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime")]
    return max(parse_time(moment) for moment in (created, *told) if moment)
