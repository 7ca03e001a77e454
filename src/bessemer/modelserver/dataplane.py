"""What the server can do, whoever asks and however: infer, describe, load, unload."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np

from bessemer.base import logs
from bessemer.base.clock import Clock
from bessemer.base.logs import fields
from bessemer.modelserver.batching import Batcher
from bessemer.modelserver.errors import (
    InvalidRequest,
    ModelFailure,
    NotReady,
    UnknownModel,
)
from bessemer.modelserver.frameworks.base import Model, Signature
from bessemer.modelserver.metrics import Metrics
from bessemer.modelserver.tensors import BYTES, InferRequest, InferResponse, Tensor, datatype_of

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

    async def infer(self, request: InferRequest) -> InferResponse:
        """The model's answer.

        Raises:
            InvalidRequest: the inputs don't fit the model.
            NotReady: the model is not loaded.
            ModelFailure: the model raised.
        """
        if self._batcher is None or self._model is None:
            raise self._not_ready()
        _check_outputs(request, self._model.signature)
        rows = _rows(request.inputs, self._model.signature)
        try:
            prediction = await self._batcher.predict(rows)
        except InvalidRequest:
            raise
        except Exception as error:
            _log.exception("model raised", extra=fields(model=self.name, request=request.id))
            raise ModelFailure(f"the model raised {type(error).__name__}: {error}") from error
        self.metrics.predict.observe(prediction.seconds)
        array = prediction.array
        output = Tensor("output-0", datatype_of(array.dtype), array)
        return InferResponse(self.name, self.version, request.id, (output,))

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


def _check_outputs(request: InferRequest, signature: Signature) -> None:
    known = {spec.name for spec in signature.outputs}
    if unknown := sorted(set(request.outputs) - known):
        raise InvalidRequest(
            f"outputs must be of {', '.join(sorted(known))}; got {', '.join(unknown)}"
        )


def _rows(inputs: tuple[Tensor, ...], signature: Signature) -> Any:
    """What the model is given: a 2-D array, or a list of texts."""
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


def _join(inputs: tuple[Tensor, ...], signature: Signature) -> Tensor:
    """One column an input, in the model's order where it knows the names."""
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
    array = np.stack([tensor.array.reshape(-1) for tensor in inputs], axis=1)
    return Tensor("inputs", datatype_of(array.dtype), array)
