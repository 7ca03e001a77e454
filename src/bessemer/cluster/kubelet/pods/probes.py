"""Startup, readiness and liveness probes of a running container.

An answer counts only if it comes from the pod's own processes (``listeners``).
Source: k8s.io/kubernetes pkg/kubelet/prober (worker.go), pkg/probe.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from bessemer.base import lazily
from bessemer.cluster.kubelet.pods import listeners
from bessemer.cluster.kubelet.pods.listeners import Owner
from bessemer.cluster.kubelet.runtime.base import Network, Runtime
from bessemer.kinds.kind import Object

if TYPE_CHECKING:
    from bessemer.cluster.kubelet.pods import grpchealth
else:  # HTTP/2 is rarely probed, and costs a tenth of a second at every start
    grpchealth = lazily.module("bessemer.cluster.kubelet.pods.grpchealth")

_MAX_HEAD_BYTES = 64 * 1024
# Looks between readiness probes begin so close, and each waits that much longer than the last.
_LOOK_SECONDS = 0.05
_LOOK_GROWTH = 1.05


class Verdicts(Protocol):
    """Is told what the probes of one container find."""

    def started(self) -> None:
        """The startup probe passed."""
        ...

    def ready(self, *, is_ready: bool) -> None:
        """The readiness probe's verdict."""
        ...

    def failed(self, kind: str, message: str) -> None:
        """A probe failed once."""
        ...

    def unhealthy(self, message: str) -> None:
        """The container is to be ended."""
        ...


class Outcome(NamedTuple):
    """What one try of a probe came to."""

    passed: bool
    message: str = ""  # why it didn't pass; of a command its output in either case


@dataclass(frozen=True)
class Target:
    """Where the container is found.

    Attributes:
        network: what the pod has of the network; None: it is on the machine's.
    """

    address: str
    folder: Path
    runtime: Runtime
    owner: Owner
    network: Network | None = None


async def watch(spec: Object, target: Target, verdicts: Verdicts, *, started: bool) -> None:
    """Probe a running container until cancelled or it is found unhealthy."""
    if not started and (probe := spec.get("startupProbe")):
        async for passed, message in _verdict_changes("Startup", probe, spec, target, verdicts):
            if passed:
                break
            verdicts.unhealthy(
                f"Container {spec['name']} failed startup probe, will be restarted: {message}"
            )
            return
        verdicts.started()
    async with asyncio.TaskGroup() as tasks:
        if probe := spec.get("readinessProbe"):
            tasks.create_task(_watch_readiness(probe, spec, target, verdicts))
        if probe := spec.get("livenessProbe"):
            tasks.create_task(_watch_liveness(probe, spec, target, verdicts))


async def _watch_readiness(
    probe: Object, spec: Object, target: Target, verdicts: Verdicts
) -> None:
    async for passed, _ in _verdict_changes("Readiness", probe, spec, target, verdicts):
        verdicts.ready(is_ready=passed)


async def _watch_liveness(probe: Object, spec: Object, target: Target, verdicts: Verdicts) -> None:
    async for passed, message in _verdict_changes("Liveness", probe, spec, target, verdicts):
        if not passed:
            verdicts.unhealthy(
                f"Container {spec['name']} failed liveness probe, will be restarted: {message}"
            )
            return


async def _verdict_changes(
    kind: str, probe: Object, spec: Object, target: Target, verdicts: Verdicts
) -> AsyncIterator[Outcome]:
    """Whether the probe passes, each time that enough results in a row say so."""
    await asyncio.sleep(probe.get("initialDelaySeconds") or 0)
    needed = {
        True: probe.get("successThreshold") or 1,
        False: probe.get("failureThreshold") or 3,
    }
    verdict: bool | None = None
    last, in_a_row = None, 0
    # An exec probe is too dear to look often.
    eager = kind == "Readiness" and "exec" not in probe and needed[True] == 1
    pauses = _make_pauses()
    while True:
        passed, message = await check(probe, spec, target)
        if passed:
            eager = False
        else:
            verdicts.failed(kind, message)
        in_a_row = in_a_row + 1 if passed == last else 1
        last = passed
        if in_a_row >= needed[passed] and passed != verdict:
            verdict = passed
            yield Outcome(passed, message)
        period = probe.get("periodSeconds") or 10
        if eager:
            await _wait_for_pass(period, pauses, probe, spec, target)
        else:
            await asyncio.sleep(period)


def _make_pauses() -> Iterator[float]:
    """Short at first, later a twentieth of the time so far: what never passes costs little."""
    pause = _LOOK_SECONDS
    while True:
        yield pause
        pause *= _LOOK_GROWTH


async def _wait_for_pass(
    period: float, pauses: Iterator[float], probe: Object, spec: Object, target: Target
) -> None:
    """A period, cut short when the probe would pass: what has just started is ready at once.

    The kubelet looks once a period. Looks in between count for nothing: the probe itself follows.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(period):
            passed = False
            while not passed:
                await asyncio.sleep(next(pauses))
                passed, _ = await check(probe, spec, target)


async def check(probe: Object, spec: Object, target: Target) -> Outcome:
    """One try: whether it passed, and why not."""
    timeout = float(probe.get("timeoutSeconds") or 1)
    try:
        async with asyncio.timeout(timeout + 0.1 if "exec" in probe else timeout):
            return await _try(probe, spec, target, timeout)
    except TimeoutError:
        return Outcome(passed=False, message=f"no answer within {timeout:g} s")
    except Exception as error:  # noqa: BLE001 - whatever the other side does is a failed probe
        return Outcome(passed=False, message=str(error) or type(error).__name__)


async def _try(probe: Object, spec: Object, target: Target, timeout: float) -> Outcome:
    if action := probe.get("exec"):
        return await _execute(tuple(action.get("command") or ()), target, timeout)
    if action := probe.get("httpGet"):
        return await _get(action, _place(action, spec, target), target)
    if action := probe.get("grpc"):
        service = action.get("service") or ""
        place = _place(action, spec, target)
        outcome = Outcome(*await grpchealth.check(place.host, place.port, service))
        return _prove(outcome, place, target)
    place = _place(probe.get("tcpSocket") or {}, spec, target)
    _, writer = await asyncio.open_connection(place.host, place.port)
    await _close(writer)
    return _prove(Outcome(passed=True), place, target)


class _Place(NamedTuple):
    """Where a probe asks; whether the pod itself has to be there."""

    host: str
    port: int
    is_own: bool


_LOCAL = ("localhost", "127.0.0.1", "::1")


def _place(action: Object, spec: Object, target: Target) -> _Place:
    """Where an action means; who names another machine or address wants just that asked."""
    host = str(action.get("host") or target.address)
    port = port_number(action.get("port", 0), spec)
    if host not in _LOCAL:
        return _Place(host, port, host == target.address)
    if target.network is None:
        return _Place("127.0.0.1", port, is_own=True)
    return _Place(_find_local(target.network, port), port, is_own=True)


def _find_local(network: Network, port: int) -> str:
    """What ``localhost`` means to who is in the pod."""
    with contextlib.suppress(OSError):
        for address in (network.localhost, network.localhost6):
            found = listeners.find(address, port)
            if found is not None and found.address == address:
                return address
    return network.address


def _prove(answer: Outcome, place: _Place, target: Target) -> Outcome:
    """The answer, if it is the pod's."""
    if not answer.passed or not place.is_own:
        return answer
    doubt = target.owner.doubt(place.host, place.port)
    return Outcome(passed=False, message=doubt) if doubt else answer


async def _execute(argv: tuple[str, ...], target: Target, timeout: float) -> Outcome:
    result = await target.runtime.execute(target.folder, argv, timeout)
    return Outcome(result.code == 0, result.output.decode(errors="replace")[:1024])


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _get(action: Object, place: _Place, target: Target) -> Outcome:
    """An HTTP GET by hand: a status of 200 to 399 passes. Redirects are not followed."""
    host, port, _ = place
    context = None
    if str(action.get("scheme") or "HTTP").upper() == "HTTPS":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(host, port, ssl=context, limit=_MAX_HEAD_BYTES)
    try:
        writer.write(_request(action, host, port))
        line = (await reader.readline()).split()
    finally:
        await _close(writer)
    if len(line) < 2 or not line[1].isdigit():
        return Outcome(passed=False, message="the answer is no HTTP")
    code = int(line[1])
    answer = Outcome(200 <= code < 400, f"HTTP probe failed with statuscode: {code}")
    return _prove(answer, place, target)


def _request(action: Object, host: str, port: int) -> bytes:
    path = action.get("path") or "/"
    headers = {"Host": f"{host}:{port}", "User-Agent": "kube-probe/1.34", "Accept": "*/*"}
    for header in action.get("httpHeaders") or ():
        headers[header["name"]] = header["value"]
    headers["Connection"] = "close"
    lines = [f"GET {path if path.startswith('/') else '/' + path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def port_number(port: int | str, spec: Object) -> int:
    """A port's number, by number or by the name of a container port.

    Raises:
        ValueError: no port of the container has that name.
    """
    if isinstance(port, int) or str(port).isdigit():
        return int(port)
    for known in spec.get("ports") or ():
        if known.get("name") == port:
            return int(known["containerPort"])
    raise ValueError(f"a probe's port is a number or a container port's name, got {port!r}")
