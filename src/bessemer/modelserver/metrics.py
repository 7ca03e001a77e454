"""Metrics under KServe's names (``request_*_seconds{model_name}``) and a count of answers."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

_BUCKETS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10,
)  # fmt: skip
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """What one server counts. The label children are looked up once: it is the hot path."""

    def __init__(self, model_name: str) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._model_name = model_name
        self.preprocess = self._histogram("request_preprocess_seconds", "decoding a request")
        self.predict = self._histogram("request_predict_seconds", "the call of the model")
        self.postprocess = self._histogram("request_postprocess_seconds", "encoding an answer")
        self._answers = Counter(
            "bessemer_modelserver_answers",
            "Answers to prediction requests by protocol and status code",
            ["model_name", "protocol", "code"],
            registry=self._registry,
        )
        self._counters: dict[tuple[str, int], Counter] = {}
        self.loaded = Gauge(
            "bessemer_modelserver_loaded",
            "1 while the model is loaded",
            ["model_name"],
            registry=self._registry,
        ).labels(model_name)

    def _histogram(self, name: str, text: str) -> Histogram:
        family = Histogram(
            name, f"Seconds of {text}", ["model_name"], buckets=_BUCKETS, registry=self._registry
        )
        return family.labels(self._model_name)

    def count(self, protocol: str, code: int) -> None:
        """One prediction request was answered."""
        counter = self._counters.get((protocol, code))
        if counter is None:
            counter = self._answers.labels(self._model_name, protocol, str(code))
            self._counters[protocol, code] = counter
        counter.inc()

    def render(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)
