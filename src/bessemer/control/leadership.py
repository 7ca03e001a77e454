"""Who leads by a Lease: what a candidate writes, given what it has seen of the others. Pure.

A Lease is another's until its holder has not renewed it for the Lease's own duration *as this
candidate has watched it*, on its own monotonic clock: the times in the Lease are for people, so
that machines whose clocks differ never lead at once.
Source: client-go tools/leaderelection/leaderelection.go.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from bessemer.base.clock import format_micro_time
from bessemer.base.errors import BessemerError
from bessemer.kinds.kind import Object

# How much longer than RetryPeriod a candidate may wait between two tries, as a share of it.
JITTER = 1.2


class InvalidTerms(BessemerError):
    """Times by which two could lead at once, or nobody could."""


@dataclass(frozen=True)
class Terms:
    """The times of an election, in seconds.

    Attributes:
        duration: how long others wait after the last renewal that they saw.
        renew_deadline: how long a leader goes on without a renewal that succeeded.
        retry: between two tries to take or to renew.

    Raises:
        InvalidTerms: they don't stand in the order duration > renew_deadline > retry * JITTER.
    """

    duration: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        if not (self.duration > self.renew_deadline > self.retry * JITTER > 0):
            raise InvalidTerms(
                f"an election's times must be duration > renew_deadline > {JITTER} * retry > 0, "
                f"but got {self.duration}, {self.renew_deadline} and {self.retry} s; a leader "
                "must give up before the others may take over"
            )


@dataclass(frozen=True)
class Seen:
    """A Lease's spec, and since when (monotonic seconds) it has been seen unchanged."""

    spec: Object
    since: float

    @property
    def holder(self) -> str:
        """Who holds it; empty: nobody."""
        return str(self.spec.get("holderIdentity") or "")


def see(before: Seen | None, spec: Object, at: float) -> Seen:
    """What is known once the spec was read: it counts anew only if it is another one."""
    return before if before is not None and before.spec == spec else Seen(spec, at)


def is_held(seen: Seen, at: float) -> bool:
    """Whether its holder still leads, as far as we can know."""
    seconds = seen.spec.get("leaseDurationSeconds") or 0
    return bool(seen.holder) and at < seen.since + seconds


def propose(
    seen: Seen | None, identity: str, terms: Terms, at: float, now: datetime
) -> Object | None:
    """The spec by which the candidate leads, or goes on leading; None: another one does.

    ``seen`` is the Lease as last read, None if there is none; ``at`` are monotonic seconds, and
    ``now`` is the wall time, for people.
    """
    spec: Object = {
        "holderIdentity": identity,
        "leaseDurationSeconds": math.ceil(terms.duration),
        "acquireTime": format_micro_time(now),
        "renewTime": format_micro_time(now),
        "leaseTransitions": 0,
    }
    if seen is None:
        return spec
    changes = int(seen.spec.get("leaseTransitions") or 0)
    if seen.holder == identity:
        acquired = seen.spec.get("acquireTime") or spec["acquireTime"]
        return {**spec, "acquireTime": acquired, "leaseTransitions": changes}
    if is_held(seen, at):
        return None
    return {**spec, "leaseTransitions": changes + 1}


def resign(spec: Object, now: datetime) -> Object:
    """The spec by which its holder lets go: the next candidate need not wait."""
    return {
        "holderIdentity": "",
        "leaseDurationSeconds": 1,
        "acquireTime": format_micro_time(now),
        "renewTime": format_micro_time(now),
        "leaseTransitions": int(spec.get("leaseTransitions") or 0),
    }
