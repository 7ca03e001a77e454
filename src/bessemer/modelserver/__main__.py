"""Flags, start and end of a model server: load, serve, drain on SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import uvicorn
import uvloop

from bessemer.base import logs
from bessemer.base.clock import Clock, SystemClock
from bessemer.base.logs import fields
from bessemer.modelserver.asgi import App
from bessemer.modelserver.dataplane import DataPlane
from bessemer.modelserver.errors import LoadFailure
from bessemer.modelserver.frameworks import loading
from bessemer.modelserver.frameworks.base import Model
from bessemer.modelserver.metrics import Metrics

_log = logs.get("bessemer.modelserver")
_MEBIBYTE = 1024 * 1024


def main() -> int:
    """Run the server until a signal; the exit code."""
    # Before a framework is imported: its thread pool is made then, and servers share the machine.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    arguments = _parse(sys.argv[1:])
    logs.configure()
    location = Path(arguments.model_dir.removeprefix("file://"))
    load = partial(loading.load, arguments.framework, location)
    try:
        model = load()
    except LoadFailure as failure:
        _log.error("model not loaded", extra=fields(reason=failure))
        _tell(arguments.termination_path, str(failure))
        return 1
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(arguments, load, model))


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m bessemer.modelserver", description=__doc__)
    parser.add_argument("--model_name", required=True)
    parser.add_argument("--model_dir", required=True, help="the model's file, or its folder")
    parser.add_argument("--model_version", default="", help="model_version of answers")
    parser.add_argument("--framework", required=True, choices=tuple(loading.FRAMEWORKS))
    parser.add_argument("--host", default=os.environ.get("POD_IP") or "127.0.0.1")
    parser.add_argument("--http_port", type=int, default=8080)
    parser.add_argument("--max_body_bytes", type=int, default=100 * _MEBIBYTE)
    parser.add_argument(
        "--drain_seconds",
        type=float,
        default=1.0,
        help="after SIGTERM: the server ends when for so long nobody has sent a request",
    )
    # A pod has 30 s to end by default; the last of them are for requests under way.
    parser.add_argument(
        "--most_drain_seconds",
        type=float,
        default=15.0,
        help="after SIGTERM: the server ends then even while requests still come",
    )
    parser.add_argument("--termination_path", default="/dev/termination-log")
    return parser.parse_args(argv)


def _tell(path: str, message: str) -> None:
    """Leave the reason where the kubelet reads it; without such a file the log has it."""
    try:
        Path(path).write_text(message[:4096])
    except OSError as error:
        _log.info("no termination message", extra=fields(path=path, reason=error))


async def _serve(arguments: argparse.Namespace, load: Callable[[], Model], model: Model) -> int:
    clock = SystemClock()
    plane = DataPlane(
        arguments.model_name, arguments.model_version, load, Metrics(arguments.model_name), clock
    )
    plane.start(model)
    app = App(plane, clock, max_body_bytes=arguments.max_body_bytes)
    config = uvicorn.Config(
        app,
        host=arguments.host,
        port=arguments.http_port,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        backlog=2048,
        timeout_keep_alive=3600,  # the gateway's kept connections end when the gateway says so
        timeout_graceful_shutdown=25,
    )
    limits = _DrainLimits(arguments.drain_seconds, arguments.most_drain_seconds)
    server = _DrainingServer(config, app, clock, limits)
    _log.info(
        "model loaded",
        extra=fields(
            model=plane.name,
            version=plane.version,
            file=model.signature.file,
            framework=model.signature.platform,
            framework_version=model.signature.framework_version,
        ),
    )
    await server.serve()
    plane.unload()
    _log.info("ended", extra=fields(model=plane.name))
    return 0


class _DrainLimits(NamedTuple):
    """How long the server goes on after SIGTERM; seconds."""

    quiet: float  # it ends when for so long nobody has sent a request
    most: float  # it ends then even while requests still come: a pod has 30 s by default


class _DrainingServer(uvicorn.Server):
    """On SIGTERM it says it isn't ready and closes connections after their next answer, then ends.

    The gateway learns of the end a moment after the process does: whoever still comes is answered,
    and the process ends only when for a while nobody has come.
    """

    def __init__(
        self, config: uvicorn.Config, app: App, clock: Clock, limits: _DrainLimits
    ) -> None:
        super().__init__(config)
        self._app = app
        self._clock = clock
        self._limits = limits
        self._latest_end = 0.0
        self._own_loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; a second signal ends at once."""
        if self._app.draining or sig == signal.SIGINT:
            self.should_exit = True
            return
        self._app.draining = True
        self._app.asked_at = self._clock.monotonic()
        self._latest_end = self._app.asked_at + self._limits.most
        self._own_loop.call_soon_threadsafe(self._end_when_quiet)

    def _end_when_quiet(self) -> None:
        end = min(self._app.asked_at + self._limits.quiet, self._latest_end)
        left = end - self._clock.monotonic()
        if left > 0:
            self._own_loop.call_later(left, self._end_when_quiet)
        else:
            self.should_exit = True


if __name__ == "__main__":
    sys.exit(main())
