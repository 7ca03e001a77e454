"""Counts and times of requests, as kube-apiserver names them; cheap enough for every request."""

from __future__ import annotations

import asyncio
import sys
from typing import NamedTuple

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class RequestLabels(NamedTuple):
    """What was asked, as Prometheus groups it; all empty where no route was found."""

    verb: str = ""
    resource: str = ""
    subresource: str = ""


class _Pair(NamedTuple):
    requests: Counter
    seconds: Histogram | None


class Metrics:
    """The server's own registry and what is counted in it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "apiserver_request_total", "Requests, by what was asked and answered.",
            (*RequestLabels._fields, "code"), registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "apiserver_request_duration_seconds", "How long they took; watches are not timed.",
            RequestLabels._fields, registry=self.registry, buckets=_BUCKETS,
        )  # fmt: skip
        ProcessCollector(registry=self.registry)  # process_resident_memory_bytes and its like
        Gauge(
            "python_asyncio_tasks", "Tasks that have not ended.", registry=self.registry
        ).set_function(lambda: len(asyncio.all_tasks()))
        Gauge(
            "python_allocated_blocks", "Pieces of memory that Python's objects have.",
            registry=self.registry,
        ).set_function(sys.getallocatedblocks)  # fmt: skip
        self._pairs: dict[tuple[RequestLabels, int], _Pair] = {}

    def count(self, labels: RequestLabels, code: int, seconds: float) -> None:
        """Count one request."""
        pair = self._pairs.get((labels, code))
        if pair is None:
            timed = labels.verb != "watch"
            pair = self._pairs[labels, code] = _Pair(
                self._requests.labels(*labels, str(code)),
                self._seconds.labels(*labels) if timed else None,
            )
        pair.requests.inc()
        if pair.seconds is not None:
            pair.seconds.observe(seconds)

    def render(self) -> tuple[bytes, bytes]:
        """The text for Prometheus and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST.encode()
