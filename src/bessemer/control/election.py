"""Leader election: of all replicas, one at a time runs what only one may run.

``leadership`` decides; here is the client, the waits and what is run. Source: client-go
tools/leaderelection.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bessemer.base import logs
from bessemer.base.clock import Clock
from bessemer.base.logs import fields
from bessemer.control import leadership
from bessemer.control.leadership import JITTER, Seen, Terms
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.lease import LEASE
from bessemer.kube.client import Client
from bessemer.kube.errors import ApiError, NotFound

_log = logs.get(__name__)


@dataclass(frozen=True)
class Candidate:
    """Who stands for which Lease.

    Attributes:
        identity: another one for each process, also after a restart.
    """

    namespace: str
    lease: str
    identity: str


class Election:
    """One candidate; ``run`` leads as often as it is its turn.

    A leader whose renewals fail stops what it runs before anybody else may begin, as long as what
    it runs can be cancelled within ``duration - renew_deadline``.
    """

    def __init__(
        self, client: Client, candidate: Candidate, clock: Clock, terms: Terms | None = None
    ) -> None:
        self._client = client
        self._candidate = candidate
        self._clock = clock
        self._terms = terms or Terms()
        self._stored: Object | None = None  # the Lease as last read or written
        self._seen: Seen | None = None
        self._renewed = 0.0  # when the last renewal that succeeded was begun, monotonic

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Lead whenever it is this candidate's turn; return when ``lead`` does.

        When the Lease is lost, ``lead`` is cancelled, and called again at the next turn. When this
        is cancelled, or ``lead`` ends or raises, the Lease is let go of once ``lead`` has ended.
        """
        while True:
            await self._acquire()
            _log.info("leading", extra=self._fields())
            leading = asyncio.ensure_future(lead())
            try:
                await self._hold(leading)
            finally:
                leading.cancel()
                await asyncio.gather(leading, return_exceptions=True)
                if not self._is_lost():
                    await self._resign()
            if not leading.cancelled():
                return leading.result()
            _log.warning("lost the lease", extra=self._fields())

    def _fields(self) -> dict[str, object]:
        candidate = self._candidate
        lease = f"{candidate.namespace}/{candidate.lease}"
        return fields(lease=lease, identity=candidate.identity)

    async def _acquire(self) -> None:
        while not await self._try():
            wait = self._terms.retry * (1 + JITTER * random.random())
            await self._clock.sleep(wait)

    async def _hold(self, leading: asyncio.Future[None]) -> None:
        """Renew until it is lost, or what is led has ended."""
        renewing = asyncio.ensure_future(self._renew())
        try:
            while not self._is_lost():
                left = self._renewed + self._terms.renew_deadline - self._clock.monotonic()
                deadline = asyncio.ensure_future(self._clock.sleep(left))
                try:
                    done, _ = await asyncio.wait(
                        {leading, renewing, deadline}, return_when=asyncio.FIRST_COMPLETED
                    )
                finally:
                    deadline.cancel()
                if leading in done or renewing in done:
                    return
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    async def _renew(self) -> None:
        """Try again and again; return when another one holds it."""
        while True:
            await self._clock.sleep(self._terms.retry)
            if not await self._try() and not self._is_ours():
                return

    def _is_ours(self) -> bool:
        return self._seen is not None and self._seen.holder == self._candidate.identity

    def _is_lost(self) -> bool:
        late = self._clock.monotonic() >= self._renewed + self._terms.renew_deadline
        return late or not self._is_ours()

    async def _try(self) -> bool:
        """Take the Lease, or renew it; False: it is another's, or the API did not do it."""
        begun = self._clock.monotonic()
        try:
            # A leader knows what it last wrote: it reads only if that is no more what is stored.
            if self._stored is not None and self._is_ours() and await self._write(begun):
                return True
        except ApiError as error:
            _log.debug("lease not renewed at once", extra=fields(reason=str(error)))
        try:
            await self._read()
            return await self._write(begun)
        except ApiError as error:
            _log.info("lease not taken", extra=self._fields() | fields(reason=str(error)))
            return False

    async def _read(self) -> None:
        candidate = self._candidate
        try:
            self._stored = await self._client.get(LEASE, candidate.lease, candidate.namespace)
        except NotFound:
            self._stored, self._seen = None, None
        else:
            self._note(self._stored)

    def _note(self, lease: Object) -> None:
        self._seen = leadership.see(self._seen, lease.get("spec") or {}, self._clock.monotonic())

    async def _write(self, begun: float) -> bool:
        """Write what follows from what was seen; False: another one leads."""
        now, candidate = self._clock.now(), self._candidate
        spec = leadership.propose(
            self._seen, candidate.identity, self._terms, self._clock.monotonic(), now
        )
        if spec is None:
            return False
        if self._stored is None:
            made = meta.new(LEASE, candidate.lease, candidate.namespace, spec=spec)
            self._stored = await self._client.create(LEASE, made)
        else:
            # With the resourceVersion that was read: of two candidates one has a Conflict.
            self._stored = await self._client.update(LEASE, {**self._stored, "spec": spec})
        self._note(self._stored)
        self._renewed = begun
        return True

    async def _resign(self) -> None:
        assert self._stored is not None, "who leads has written it"
        spec = leadership.resign(self._stored["spec"], self._clock.now())
        try:
            stored = await self._client.update(LEASE, {**self._stored, "spec": spec})
        except ApiError as error:  # the others wait for its end then
            _log.info("lease not let go of", extra=self._fields() | fields(reason=str(error)))
        else:
            self._stored = stored
            self._note(stored)
