"""Calls of one moment become one call of the model: their rows are stacked, its answers split.

Whatever arrives in the same turn of the event loop forms a batch, so a lone request never waits.
A model found slow runs in a thread, so that health checks go on; what arrives meanwhile forms the
next batch.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from bessemer.base.clock import Clock
from bessemer.modelserver.frameworks.base import Model

# A stack has at most this many rows; a call with more goes alone, and to the thread.
_MAX_ROWS = 1024
# A model that needs longer for a call leaves the event loop.
_SLOW_SECONDS = 0.003


@dataclass(frozen=True)
class Prediction:
    """A model's answer and how long the call took that it came from."""

    array: Any
    seconds: float


@dataclass(frozen=True)
class _Call:
    rows: Any
    future: asyncio.Future[Prediction]

    @property
    def count(self) -> int:
        return len(self.rows)


class Batcher:
    """Runs a model for many callers at once. One model, one event loop."""

    def __init__(self, model: Model, clock: Clock) -> None:
        self._model = model
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "predict")
        self._waiting: list[_Call] = []
        self._scheduled = False
        self._running = False  # in the thread
        self._closed = False
        self._seconds = 0.0  # of a call, smoothed

    def predict(self, rows: Any) -> asyncio.Future[Prediction]:
        """The prediction for an array (or a list of texts); raises what the model raised."""
        future: asyncio.Future[Prediction] = self._loop.create_future()
        self._waiting.append(_Call(rows, future))
        if not self._scheduled and not self._running:
            self._scheduled = True
            self._loop.call_soon(self._flush)
        return future

    @property
    def is_slow(self) -> bool:
        """Whether callers wait long enough to give up: their calls run in the thread."""
        return self._running or self._seconds > _SLOW_SECONDS

    def close(self) -> None:
        """Let go of the thread once all that was asked for is answered."""
        self._closed = True
        self._release()

    def _release(self) -> None:
        if self._closed and not self._running and not self._waiting:
            self._thread.shutdown(wait=False)

    def _flush(self) -> None:
        self._scheduled = False
        calls, self._waiting = self._waiting, []
        batches = self._group([call for call in calls if not call.future.cancelled()])
        rows = max((sum(call.count for call in batch) for batch in batches), default=0)
        if self._seconds > _SLOW_SECONDS or rows > _MAX_ROWS:
            self._running = True
            self._thread.submit(self._run_aside, batches)
            return
        for batch in batches:
            _settle(self._run(batch))
        self._release()

    def _group(self, calls: list[_Call]) -> list[list[_Call]]:
        if len(calls) == 1 or not self._model.signature.rowwise:
            return [[call] for call in calls]
        groups: dict[Any, list[list[_Call]]] = {}
        for call in calls:
            if isinstance(call.rows, list) or call.rows.ndim < 1:
                groups[id(call)] = [[call]]
                continue
            batches = groups.setdefault((call.rows.dtype, call.rows.shape[1:]), [[]])
            if sum(other.count for other in batches[-1]) + call.count > _MAX_ROWS:
                batches.append([])
            batches[-1].append(call)
        return [batch for batches in groups.values() for batch in batches if batch]

    def _run_aside(self, batches: list[list[_Call]]) -> None:
        for batch in batches:
            # Who gave up while the batches before ran is passed over.
            if calls := [call for call in batch if not call.future.cancelled()]:
                self._loop.call_soon_threadsafe(_settle, self._run(calls))
        self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        self._running = False
        if self._waiting and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)
        self._release()

    def _run(self, batch: list[_Call]) -> list[_Outcome]:
        if len(batch) == 1:
            return [self._run_one(batch[0])]
        start, rows = self._clock.monotonic(), sum(call.count for call in batch)
        try:
            array = self._model.predict(np.concatenate([call.rows for call in batch]))
        except Exception:  # noqa: BLE001 - one caller's rows may break it
            array = None
        if np.shape(array)[:1] != (rows,):  # or its answers can't be told apart: each goes alone
            return [self._run_one(call) for call in batch]
        seconds = self._measure(start)
        outcomes, at = [], 0
        for call in batch:
            part = array[at : at + call.count]
            at += call.count
            outcomes.append(_Outcome(call, Prediction(part, seconds), None))
        return outcomes

    def _run_one(self, call: _Call) -> _Outcome:
        start = self._clock.monotonic()
        try:
            array = self._model.predict(call.rows)
        except Exception as error:  # noqa: BLE001 - models raise anything; the caller gets it
            return _Outcome(call, None, error)
        return _Outcome(call, Prediction(array, self._measure(start)), None)

    def _measure(self, start: float) -> float:
        seconds = self._clock.monotonic() - start
        self._seconds += (seconds - self._seconds) * 0.1
        return seconds


@dataclass(frozen=True)
class _Outcome:
    call: _Call
    prediction: Prediction | None
    error: Exception | None


def _settle(outcomes: list[_Outcome]) -> None:
    for outcome in outcomes:
        future = outcome.call.future
        if future.cancelled():
            continue
        if outcome.prediction is not None:
            future.set_result(outcome.prediction)
        elif outcome.error is not None:
            future.set_exception(outcome.error)
