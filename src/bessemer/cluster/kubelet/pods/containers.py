"""One container of a pod: started, adopted, probed, watched to its end, signalled."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from bessemer.base import logs
from bessemer.base.clock import later
from bessemer.base.logs import fields
from bessemer.cluster.kubelet.errors import StartFailure
from bessemer.cluster.kubelet.pods import plan, probes, startretries
from bessemer.cluster.kubelet.pods.attempts import Attempts
from bessemer.cluster.kubelet.pods.dependencies import KubeletDependencies
from bessemer.cluster.kubelet.pods.listeners import Owner
from bessemer.cluster.kubelet.pods.plan import Attempt, Container
from bessemer.cluster.kubelet.pods.podrecord import PodRecord
from bessemer.cluster.kubelet.pods.preparation import Preparation
from bessemer.cluster.kubelet.runtime.base import AlreadyStarted, RuntimeFailure
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kube.errors import ApiError

_log = logs.get(__name__)


@dataclass(frozen=True)
class PodParts:
    """What the containers of one pod share.

    Attributes:
        address: the pod's own.
        owner: tells whether the pod itself answered a probe.
        wake: has the pod's worker look again; called whenever something else is known.
    """

    services: KubeletDependencies
    record: PodRecord
    preparation: Preparation
    attempts: Attempts
    address: str
    owner: Owner
    wake: Callable[[], None]


class ContainerWorker:
    """Does with one container what the pod's plan says, and knows what became of it.

    It is told the verdicts of the container's probes (``probes.Verdicts``).
    """

    def __init__(self, spec: Object, pod: PodParts) -> None:
        self.known: Container = plan.NOTHING
        self.started_at: datetime | None = None  # by this agent, the latest attempt
        self._spec = spec
        self._name: str = spec["name"]
        self._pod = pod
        self._starting: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._failures = 0  # to start it, in a row
        self._is_committed = False  # the runtime was asked; what it starts must be waited for

    # ---- what the pod's worker asks for

    def start(self, action: plan.Start) -> None:
        """Begin to prepare and start an attempt."""
        self._know(is_starting=True)
        self._starting = asyncio.create_task(self._start(action))

    def abandon(self) -> None:
        """Give up starting it, where that can still be given up."""
        if self._starting and not self._is_committed:
            self._starting.cancel()

    async def stop(self, action: plan.Stop) -> None:
        """Ask it to end."""
        self._know(stop_at=action.deadline)
        self._pod.record.tell("Normal", "Killing", action.why)
        await self._signal(signal.SIGTERM)

    async def kill(self) -> None:
        """End it."""
        self._know(is_killed=True)
        await self._signal(signal.SIGKILL)

    async def end_at_once(self) -> bool:
        """End it whatever it is about; False when nothing of it is left."""
        if self._starting:
            self.abandon()
            return True
        if self.known.attempt is None or not self.known.attempt.is_live:
            return False
        await self._signal(signal.SIGKILL)
        return True

    def retry(self) -> bool:
        """Try again now what could not be started, if that may have changed; whether it may."""
        trouble = self.known.trouble
        if trouble is None or not startretries.can_change(trouble):
            return False
        now = self._pod.services.clock.now()
        self._know(trouble=dataclasses.replace(trouble, retry_at=now))
        return True

    def shift(self, step: timedelta) -> None:
        """The wall clock was set by that much: so are the moments that are waited for."""
        trouble, stop_at = self.known.trouble, self.known.stop_at
        if trouble:
            self._know(trouble=dataclasses.replace(trouble, retry_at=trouble.retry_at + step))
        if stop_at:
            self._know(stop_at=later(stop_at, step.total_seconds()))
        if self.started_at:
            self.started_at += step

    def adopt(self) -> None:
        """Take up what an earlier agent started."""
        attempts = self._pod.attempts.last(self._name)
        if not attempts:
            return
        if len(attempts) > 1:
            self._know(previous=attempts[0])
        self._know(attempt=attempts[-1], streak=attempts[-1].number)
        if attempts[-1].is_live:
            self._watch(attempts[-1], plan.told_of(self._pod.record.pod, self._name))

    def let_go(self) -> list[asyncio.Task[None]]:
        """Cancel what this agent does with it, and leave the container as it is."""
        tasks = [task for task in (self._starting, self._watching) if task]
        for task in tasks:
            task.cancel()
        return tasks

    # ---- starting

    async def _start(self, action: plan.Start) -> None:
        try:
            await self._start_attempt(action)
        except StartFailure as failure:
            self._fail(failure)
        except AlreadyStarted:
            self._know(trouble=None)
            self._watch(self._read(action.number))
        except (RuntimeFailure, ApiError, OSError) as error:
            self._fail(StartFailure("CreateContainerError", str(error)))
        except Exception as error:  # noqa: BLE001 - a bug with one pod must not stop the others
            pod = meta.name(self._pod.record.pod)
            _log.exception("container not started", extra=fields(pod=pod))
            self._fail(StartFailure("CreateContainerError", repr(error)))
        finally:
            self._know(is_starting=False, doing="")
            self._starting, self._is_committed = None, False
            self._pod.wake()

    async def _start_attempt(self, action: plan.Start) -> None:
        services, record = self._pod.services, self._pod.record
        folder = self._pod.attempts.make(self._name, action.number)
        order = await self._pod.preparation.container(
            record.pod, self._spec, folder, self._tell_progress
        )
        self._is_committed = True
        await services.runtime.start(order)
        image = self._spec.get("image", "")
        record.tell("Normal", "Pulled", f'Container image "{image}" already present on machine')
        record.tell("Normal", "Created", f"Created container: {self._name}")
        before = self.known.attempt
        if before and before.number != action.number:
            self._pod.attempts.forget(self._name, action.number - 2)
            self._know(previous=before)
        attempt = self._read(action.number)
        if not attempt.seen.start_error:
            record.tell("Normal", "Started", f"Started container {self._name}")
        else:
            record.tell("Warning", "Failed", f"Error: {attempt.seen.start_error}")
        self._failures = 0
        self.started_at = services.clock.now()
        self._know(
            trouble=None, streak=action.streak, is_started=False, is_ready=False,
            unhealthy="", stop_at=None, is_killed=False,
        )  # fmt: skip
        self._watch(attempt)

    def _tell_progress(self, what: str) -> None:
        self._know(doing=what)
        self._pod.wake()

    def _fail(self, failure: StartFailure) -> None:
        record, now = self._pod.record, self._pod.services.clock.now()
        record.tell("Warning", failure.event, failure.message)
        image = self._spec.get("image", "")
        retry = startretries.decide(failure, self._failures, image, now)
        if retry.back_off:
            record.tell("Normal", "BackOff", retry.back_off)
        self._failures += 1
        self._know(trouble=retry.trouble)

    # ---- watching what runs

    def _watch(self, attempt: Attempt, told: Object | None = None) -> None:
        """Probe an attempt and wait for its end; ``told`` is its status of an earlier agent."""
        self._know(attempt=attempt)
        if not attempt.is_live:
            self._tell_end(attempt)
            return
        before = told or {}
        self._know(  # until a probe says otherwise
            is_started="startupProbe" not in self._spec or bool(before.get("started")),
            is_ready="readinessProbe" not in self._spec or bool(before.get("ready")),
        )
        self._watching = asyncio.create_task(self._watch_end(attempt.number))

    async def _watch_end(self, number: int) -> None:
        pod = self._pod
        folder = pod.attempts.folder(self._name, number)
        network = pod.preparation.network(pod.record.pod)
        target = probes.Target(pod.address, folder, pod.services.runtime, pod.owner, network)
        probing = asyncio.create_task(
            probes.watch(self._spec, target, self, started=self.known.is_started)
        )
        try:
            await pod.services.runtime.wait(folder)
        finally:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
        attempt = self._read(number)
        self._know(attempt=attempt, is_started=False, is_ready=False)
        self._tell_end(attempt)
        pod.wake()

    def _tell_end(self, attempt: Attempt) -> None:
        pod = self._pod.record.pod
        if not attempt.is_over or meta.is_deleting(pod):
            return
        if plan.restarts(pod, self._spec, attempt) and attempt.number:
            text = f"Back-off restarting failed container {self._name} in pod {meta.name(pod)}"
            self._pod.record.tell("Warning", "BackOff", text)

    # ---- what probes tell

    def started(self) -> None:
        """The startup probe passed."""
        self._know(is_started=True)
        self._pod.wake()

    def ready(self, *, is_ready: bool) -> None:
        """The readiness probe changed its mind."""
        if self.known.is_ready != is_ready:
            self._know(is_ready=is_ready)
            self._pod.wake()

    def failed(self, kind: str, message: str) -> None:
        """A probe failed once."""
        self._pod.record.tell("Warning", "Unhealthy", f"{kind} probe failed: {message}")

    def unhealthy(self, message: str) -> None:
        """The startup or liveness probe wants the container's end."""
        self._know(unhealthy=message)
        self._pod.wake()

    # ----

    def _know(self, **parts: object) -> None:
        self.known = dataclasses.replace(self.known, **parts)  # type: ignore[arg-type]  # names checked by tests

    def _read(self, number: int) -> Attempt:
        return self._pod.attempts.read(self._name, number)

    async def _signal(self, number: int) -> None:
        attempt = self.known.attempt
        if attempt and attempt.is_live:
            folder = self._pod.attempts.folder(self._name, attempt.number)
            await self._pod.services.runtime.signal(folder, number)
