"""What the server can do, whoever asks and however: infer, describe, load, unload."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np

from bessemer.base import logs
from bessemer.base.clock import Clock
from bessemer.base.logs import fields
from bessemer.modelserver.batching import Batcher, Prediction
from bessemer.modelserver.errors import (
    CallerGone,
    InvalidRequest,
    ModelFailure,
    NotReady,
    UnknownModel,
)
from bessemer.modelserver.frameworks.base import Model, Signature
from bessemer.modelserver.metrics import Metrics
from bessemer.modelserver.tensors import (
    BYTES,
    Columns,
    InferRequest,
    InferResponse,
    Tensor,
    datatype_of,
)

_log = logs.get(__name__)


class DataPlane:
    """One model under one name and version."""

    def __init__(
        self,
        name: str,
        version: str,
        load: Callable[[], Model],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self.name = name
        self.version = version
        self.metrics = metrics
        self._load = load
        self._clock = clock
        self._model: Model | None = None
        self._batcher: Batcher | None = None

    @property
    def ready(self) -> bool:
        """Whether the model is loaded."""
        return self._batcher is not None

    @property
    def signature(self) -> Signature:
        """What the loaded model takes and gives.

        Raises:
            NotReady: it is not loaded.
        """
        if self._model is None:
            raise self._not_ready()
        return self._model.signature

    def check(self, name: str, version: str = "") -> None:
        """Refuse other names and versions than ours.

        Raises:
            UnknownModel: it is another.
        """
        if name != self.name:
            raise UnknownModel(f"Model with name {name} does not exist; here is {self.name!r}.")
        if version and version != self.version:
            raise UnknownModel(
                f"Model {name} has no version {version!r}; here is {self.version!r}."
            )

    def start(self, model: Model) -> None:
        """Serve this model from now on."""
        self.unload()
        self._model = model
        self._batcher = Batcher(model, self._clock)
        self.metrics.loaded.set(1)
        for warning in model.signature.warnings:
            _log.warning("model warns", extra=fields(model=self.name, warning=warning))

    async def load(self) -> None:
        """Read the model from its files again.

        Raises:
            LoadFailure: it can't be read; what was loaded goes on.
        """
        self.start(await asyncio.to_thread(self._load))

    def unload(self) -> None:
        """Let go of the model: not ready until it is loaded again."""
        if self._batcher is not None:
            self._batcher.close()
        self._model = self._batcher = None
        self.metrics.loaded.set(0)

    async def infer(
        self, request: InferRequest, gone: Callable[[], Awaitable[object]] | None = None
    ) -> InferResponse:
        """The model's answer.

        ``gone`` returns when the caller has left: then a slow model is spared the call.

        Raises:
            CallerGone: the caller left before the answer.
            InvalidRequest: the inputs don't fit the model.
            NotReady: the model is not loaded.
            ModelFailure: the model raised.
        """
        if self._batcher is None or self._model is None:
            raise self._not_ready()
        _check_outputs(request, self._model.signature)
        rows = _rows(request.inputs, self._model.signature)
        try:
            prediction = await _unless_gone(self._batcher, rows, gone)
        except (InvalidRequest, CallerGone):
            raise
        except Exception as error:
            _log.exception("model raised", extra=fields(model=self.name, request=request.id))
            raise ModelFailure(f"the model raised {type(error).__name__}: {error}") from error
        self.metrics.predict.observe(prediction.seconds)
        outputs = _make_outputs(prediction.array, request)
        return InferResponse(self.name, self.version, request.id, outputs)

    def metadata(self) -> dict[str, Any]:
        """The V2 metadata of the model, with what is to be known of its file."""
        signature = self.signature
        parameters: dict[str, Any] = {
            "file": signature.file,
            "framework_version": signature.framework_version,
        }
        if signature.warnings:
            parameters["warning"] = "; ".join(signature.warnings)
        return {
            "name": self.name,
            "versions": [self.version] if self.version else [],
            "platform": signature.platform,
            "inputs": [spec.to_json() for spec in signature.inputs],
            "outputs": [spec.to_json() for spec in signature.outputs],
            "parameters": parameters,
        }

    def index(self, *, ready_only: bool) -> list[dict[str, str]]:
        """The V2 repository index."""
        if ready_only and not self.ready:
            return []
        return [
            {
                "name": self.name,
                "version": self.version,
                "state": "READY" if self.ready else "UNAVAILABLE",
                "reason": "" if self.ready else "unloaded",
            }
        ]

    def _not_ready(self) -> NotReady:
        return NotReady(f"Model with name {self.name} is not ready.")


async def _unless_gone(
    batcher: Batcher, rows: Any, gone: Callable[[], Awaitable[object]] | None
) -> Prediction:
    prediction = batcher.predict(rows)
    if gone is None or not batcher.is_slow:  # the answer comes before anybody can leave
        return await prediction
    leaving = asyncio.ensure_future(gone())
    try:
        await asyncio.wait((prediction, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        leaving.cancel()
        if not prediction.done():
            prediction.cancel()
    if prediction.cancelled():
        raise CallerGone("the caller left before the model's answer")
    return prediction.result()


def _make_outputs(predicted: Any, request: InferRequest) -> tuple[Tensor, ...]:
    """The outputs ``output-0``, ``output-1`` …, or those of them that the request names."""
    arrays = predicted if isinstance(predicted, tuple) else (predicted,)
    made = [
        Tensor(f"output-{position}", datatype_of(array.dtype), array)
        for position, array in enumerate(arrays)
    ]
    return tuple(each for each in made if not request.outputs or each.name in request.outputs)


def _check_outputs(request: InferRequest, signature: Signature) -> None:
    known = {spec.name for spec in signature.outputs}
    if unknown := sorted(set(request.outputs) - known):
        raise InvalidRequest(
            f"outputs must be of {', '.join(sorted(known))}; got {', '.join(unknown)}"
        )


def _rows(inputs: tuple[Tensor, ...], signature: Signature) -> Any:
    """What the model is given: a 2-D array, a list of texts, or a table's columns."""
    if signature.table:
        return _make_columns(inputs, signature)
    tensor = inputs[0] if len(inputs) == 1 else _join(inputs, signature)
    if len(tensor.array) == 0 if tensor.array.ndim else True:
        raise InvalidRequest(
            f"input {tensor.name!r}: needs at least one row, got shape {tensor.shape}"
        )
    if signature.features is not None:
        if tensor.array.ndim != 2 or tensor.array.shape[1] != signature.features:
            raise InvalidRequest(
                f"input {tensor.name!r}: expected shape [-1, {signature.features}] "
                f"(rows of the {signature.features} features the model was trained on), "
                f"got {tensor.shape}"
            )
        return tensor.array
    if tensor.datatype == BYTES and signature.text:
        return tensor.array.reshape(-1).tolist()
    return tensor.array


def _make_columns(inputs: tuple[Tensor, ...], signature: Signature) -> Columns:
    """A column an input by name, or one input of rows whose columns are in the model's order."""
    names = signature.feature_names
    first = inputs[0]
    if len(inputs) == 1 and first.array.ndim == 2 and first.shape[1] == len(names):
        columns = {name: first.array[:, position] for position, name in enumerate(names)}
    else:
        ordered = _order(inputs, signature)
        columns = {tensor.name: tensor.array.reshape(-1) for tensor in ordered}
    made = Columns(columns)
    if not len(made):
        raise InvalidRequest(f"input {first.name!r}: needs at least one row, got none")
    return made


def _join(inputs: tuple[Tensor, ...], signature: Signature) -> Tensor:
    """One column an input, in the model's order where it knows the names."""
    ordered = _order(inputs, signature)
    array = np.stack([tensor.array.reshape(-1) for tensor in ordered], axis=1)
    return Tensor("inputs", datatype_of(array.dtype), array)


def _order(inputs: tuple[Tensor, ...], signature: Signature) -> tuple[Tensor, ...]:
    """The inputs as equally long columns, in the model's order where it knows the names."""
    by_name = {tensor.name: tensor for tensor in inputs}
    if len(by_name) < len(inputs):
        names = ", ".join(tensor.name for tensor in inputs)
        raise InvalidRequest(f"each input must have a name of its own, got {names}")
    if wanted := signature.feature_names:
        if set(by_name) != set(wanted):
            raise InvalidRequest(
                f"several inputs must be the features {', '.join(wanted)}; "
                f"missing are {', '.join(sorted(set(wanted) - set(by_name))) or 'none'}, "
                f"unknown are {', '.join(sorted(set(by_name) - set(wanted))) or 'none'}"
            )
        inputs = tuple(by_name[name] for name in wanted)
    rows = inputs[0].shape[:1]
    if any(tensor.shape not in (rows, [*rows, 1]) for tensor in inputs):
        shapes = ", ".join(f"{tensor.name} {tensor.shape}" for tensor in inputs)
        raise InvalidRequest(
            f"several inputs must be one column each, equally long; got {shapes}; "
            "send one input of shape [rows, features] instead"
        )
    return inputs
