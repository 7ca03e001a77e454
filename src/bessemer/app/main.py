"""``bessemer up``: open the home, start the control plane, say when it is ready, stop it well."""

from __future__ import annotations

import asyncio
import errno
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop

from bessemer.app import folder, memory, ports
from bessemer.app.control_plane import ControlPlane, ControlPlaneOptions
from bessemer.app.folder import Config
from bessemer.app.network import Network
from bessemer.base import logs
from bessemer.base.clock import SystemClock
from bessemer.base.home import Home

_log = logs.get(__name__)

Say = Callable[[str], object]
# A start that takes longer says what it waits for.
_PATIENCE = 20.0  # seconds


def start(home: Home, port: int | None, say: Say) -> int:
    """Run until asked to end; the exit code.

    Args:
        home: prepared.
        port: P, or None for the kept one.
        say: where lines for people go; it raises nothing when nobody is there to read them.

    Raises:
        BessemerError: it can't be started, or died.
    """
    memory.set_up()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(home, port, say))


async def run(home: Home, port: int | None, say: Say) -> int:
    """As ``start``, on the running loop."""
    lock = folder.Lock(home)
    network = None
    try:
        folder.check_whole(home)
        if warning := folder.make_room(home):
            say(f"warning: {warning}")
        lock.sign()
        config = folder.read_config(home)
        network = Network(config.network)
        setting = _choose(home, replace(config, network=network.number), port)
        try:
            return await _serve(setting, say)
        except OSError as error:
            is_of_home = Path(str(error.filename or "/")).is_relative_to(home.root)
            if is_of_home or error.errno == errno.ENOSPC:
                raise folder.unusable(home, error) from error
            raise
        finally:
            setting.ports.close()
    finally:
        if network is not None:
            network.release()
        folder.unmake(home)  # of a new one whose start was refused nothing is left
        lock.release()


def _choose(home: Home, config: Config, port: int | None) -> ControlPlaneOptions:
    # After a kill -9 our own Envoy may still hold the gateway's port.
    first, chosen = ports.choose(config, port, gateway_is_ours=folder.has_running_pods(home))
    config = replace(config, port=first)
    folder.write_config(home, config)
    return ControlPlaneOptions(home, config, chosen, SystemClock())


async def _serve(setting: ControlPlaneOptions, say: Say) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    ends = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup leaves it
        ends.append(signal.SIGHUP)
    for signum in ends:
        loop.add_signal_handler(signum, stop.set)
    plane = ControlPlane(setting)
    asked = asyncio.create_task(stop.wait(), name="stop")
    starting = asyncio.create_task(_start(plane, say), name="start")
    end_pods = False  # after an error they run on, to be adopted by the next start
    try:
        await _first(starting, asked, plane.dead)
        if starting.done():
            starting.result()
        await _first(asked, plane.dead)
        plane.check()
        say("ending: pods get time to finish their work")
        end_pods = True
    finally:
        for task in (starting, asked):
            task.cancel()
        await asyncio.gather(starting, asked, return_exceptions=True)
        await plane.stop(end_pods=end_pods)
    return 0


async def _start(plane: ControlPlane, say: Say) -> None:
    await plane.start()
    waiting = asyncio.create_task(plane.wait_ready(), name="ready")
    try:
        done, _ = await asyncio.wait([waiting], timeout=_PATIENCE)
        if not done:
            say(f"still starting: {plane.waits_for()}")
        await waiting
    finally:
        waiting.cancel()
    say(plane.ready_line())


async def _first(*awaited: asyncio.Future[Any]) -> None:
    await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
