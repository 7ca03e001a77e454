"""One pod's life on this node: observe, plan, act, report; one task a pod that is not at rest."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import signal
from collections.abc import Callable
from datetime import datetime, timedelta

from bessemer.base import logs, trees
from bessemer.base.clock import Steps
from bessemer.base.logs import fields
from bessemer.cluster.kubelet import listeners, plan, probes
from bessemer.cluster.kubelet import status as statuses
from bessemer.cluster.kubelet.attempts import Attempts
from bessemer.cluster.kubelet.dependencies import KubeletDependencies
from bessemer.cluster.kubelet.errors import StartFailure
from bessemer.cluster.kubelet.plan import Attempt, Container, WaitingReason
from bessemer.cluster.kubelet.preparation import Preparation
from bessemer.cluster.kubelet.runtime.base import AlreadyStarted, RuntimeFailure
from bessemer.cluster.kubelet.slots import Slot, Verdicts
from bessemer.cluster.kubelet.spec import unheld
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.pod import POD, has_ended
from bessemer.kube.client import DeleteOptions
from bessemer.kube.errors import ApiError, Conflict, NotFound

_log = logs.get(__name__)
# A status is only worth its write when it lasts: "waiting" when starting takes longer than this,
# "running" when the container does.
_QUIET_STARTING_SECONDS = 0.05
_QUIET_STARTED_SECONDS = 0.02
_RETRY_SECONDS = 10.0
_IMAGE_RETRY_MAX_SECONDS = 300.0
_REPORT_RETRY_SECONDS = 1.0
_IMAGE_REASONS = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName")
#: Seconds between two looks of one that waits for a moment.
_LONGEST_PAUSE = 10.0


class PodWorker:
    """Runs one pod.

    Args:
        pod: the object, bound to this node.
        on_end: called when there is nothing more to do for the pod.
    """

    def __init__(
        self, services: KubeletDependencies, pod: Object, on_end: Callable[[PodWorker], None]
    ) -> None:
        self.pod = pod
        self.uid = meta.uid(pod)
        self._services = services
        self._on_end = on_end
        self._folder = services.home.pods / self.uid
        with contextlib.suppress(OSError):  # a full disk: each start tries again, and says so
            services.spares.give(self._folder)
        self._address = services.addresses.of_pod(pod, self._folder)
        self._preparation = Preparation(services, self._folder, self._address)
        self._slots = {spec["name"]: Slot() for spec in plan.all_containers(pod)}
        self._specs = {spec["name"]: spec for spec in plan.all_containers(pod)}
        self._attempts = Attempts(self._folder, self._specs, services.runtime)
        limits = unheld(self._specs.values(), services.runtime)
        stand_in = services.config.images.stand_ins(self._specs.values())
        self._place = statuses.NodeAddresses(
            services.config.host_ip, self._address, limits, stand_in
        )
        self._owner = listeners.Owner(self._address, lambda: plan.find_pids(self._view()))
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_gone = False  # the object is
        self._is_released = False
        self._is_stopped = False
        self._must_refresh = False
        self._unwritten = ""  # why the status is not in the API
        self._quiet_until = services.clock.now() + _seconds(_QUIET_STARTING_SECONDS)
        self._steps = Steps(services.clock)
        self._adopt()

    # ---- told from outside

    def update(self, pod: Object) -> None:
        """The object changed."""
        if _version(pod) <= _version(self.pod) and pod is not self.pod:
            return
        if pod["metadata"].get("annotations") != self.pod["metadata"].get("annotations") or (
            pod["metadata"].get("labels") != self.pod["metadata"].get("labels")
        ):
            self._must_refresh = True
        self.pod = pod
        self.wake()

    def refresh(self) -> None:
        """An object that the pod refers to changed."""
        self._must_refresh = True
        self.retry()

    def retry(self) -> None:
        """Something that could not be started may be now."""
        for slot in self._slots.values():
            if slot.container.trouble and slot.container.trouble.reason not in _IMAGE_REASONS:
                now = self._services.clock.now()
                slot.change(trouble=dataclasses.replace(slot.container.trouble, retry_at=now))
                self.wake()
        if self._must_refresh:
            self.wake()

    def gone(self) -> None:
        """The object is gone: nothing of the pod may stay."""
        self._is_gone = True
        self.wake()

    def wake(self) -> None:
        """Look at the pod now."""
        self._wake.set()
        if self._is_stopped:
            return
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name=f"pod {meta.name(self.pod)}")

    async def stop(self) -> None:
        """Let go; what runs stays."""
        self._is_stopped = True
        tasks = [self._task]
        for slot in self._slots.values():
            tasks += [slot.starting, slot.watching]
        for task in tasks:
            if task:
                task.cancel()
        await asyncio.gather(*(task for task in tasks if task), return_exceptions=True)

    # ---- the loop

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                if await self._pass():
                    return
            except ApiError as error:
                self._tell_unwritten(str(error))
                await self._pause(self._services.clock.now() + _seconds(_REPORT_RETRY_SECONDS))
            except Exception:  # noqa: BLE001 - a bug must not leave the pod alone for ever
                _log.exception("pod not advanced", extra=fields(pod=meta.name(self.pod)))
                await self._pause(self._services.clock.now() + _seconds(_RETRY_SECONDS))

    async def _pass(self) -> bool:
        """Do what is due; True when the pod rests until it is woken."""
        self._follow_clock()
        now = self._services.clock.now()
        if self._is_gone:
            return await self._pass_gone()
        await self._refresh_volumes(now)
        todo = plan.decide(self.pod, self._view(), now)
        for action in todo.actions:
            if not isinstance(action, plan.Release):
                await self._act(action)
        if now < self._quiet_until and not self._has_news(todo):
            await self._pause(self._quiet_until)
            return False
        await self._report()
        self._tell_unwritten("")
        if plan.Release() in todo.actions:  # whoever waits for its end waits no longer for this
            await self._release()
        if plan.Remove() in todo.actions:
            return await self._remove()
        if self._is_released and not self._wake.is_set():
            if has_ended(self.pod):
                self._on_end(self)
            return True
        if not todo.actions or self._is_starting():
            refresh_at = self._preparation.refresh_at
            times = [moment for moment in (todo.wake_at, refresh_at) if moment]
            await self._pause(min(times, default=None))
        return False

    def _follow_clock(self) -> None:
        """Move what is waited for along with the wall clock when somebody sets it."""
        if step := self._steps.take():
            self._quiet_until += step
            for slot in self._slots.values():
                slot.shift(step)

    async def _pause(self, until: datetime | None) -> None:
        timeout = None
        if until is not None:
            left = (until - self._services.clock.now()).total_seconds()
            # Looks again soon: the clock may have been set since the wait was decided.
            timeout = min(max(left, 0), _LONGEST_PAUSE)
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _act(self, action: plan.Action) -> None:
        match action:
            case plan.Start():
                slot = self._slots[action.container]
                slot.change(is_starting=True)
                slot.starting = asyncio.create_task(self._start(action))
            case plan.Abandon():
                self._slots[action.container].abandon()
            case plan.Stop():
                slot = self._slots[action.container]
                slot.change(stop_at=action.deadline)
                self._tell("Normal", "Killing", action.why)
                await self._signal(action.container, signal.SIGTERM)
            case plan.Kill():
                self._slots[action.container].change(is_killed=True)
                await self._signal(action.container, signal.SIGKILL)
            case plan.Release() | plan.Remove():
                pass  # after the report

    # ---- starting

    async def _start(self, action: plan.Start) -> None:
        slot, name = self._slots[action.container], action.container
        try:
            await self._start_attempt(slot, action)
        except StartFailure as failure:
            self._fail(slot, name, failure)
        except AlreadyStarted:
            slot.change(trouble=None)
            self._watch(name, self._attempts.read(name, action.number))
        except (RuntimeFailure, ApiError, OSError) as error:
            self._fail(slot, name, StartFailure("CreateContainerError", str(error)))
        except Exception as error:  # noqa: BLE001 - a bug with one pod must not stop the others
            _log.exception("container not started", extra=fields(pod=meta.name(self.pod)))
            self._fail(slot, name, StartFailure("CreateContainerError", repr(error)))
        finally:
            slot.change(is_starting=False, doing="")
            slot.starting, slot.is_committed = None, False
            self.wake()

    async def _start_attempt(self, slot: Slot, action: plan.Start) -> None:
        name = action.container
        folder = self._attempts.make(name, action.number)
        spec = self._specs[name]

        def tell(what: str) -> None:
            slot.change(doing=what)
            self.wake()

        order = await self._preparation.container(self.pod, spec, folder, tell)
        slot.is_committed = True
        await self._services.runtime.start(order)
        image = spec.get("image", "")
        self._tell("Normal", "Pulled", f'Container image "{image}" already present on machine')
        self._tell("Normal", "Created", f"Created container: {name}")
        before = slot.container.attempt
        if before and before.number != action.number:
            self._attempts.forget(name, action.number - 2)
            slot.change(previous=before)
        attempt = self._attempts.read(name, action.number)
        if not attempt.seen.start_error:
            self._tell("Normal", "Started", f"Started container {name}")
        else:
            self._tell("Warning", "Failed", f"Error: {attempt.seen.start_error}")
        slot.failures = 0
        self._quiet_until = self._services.clock.now() + _seconds(_QUIET_STARTED_SECONDS)
        slot.change(
            trouble=None, streak=action.streak, is_started=False, is_ready=False,
            unhealthy="", stop_at=None, is_killed=False,
        )  # fmt: skip
        self._watch(name, attempt)

    def _fail(self, slot: Slot, name: str, failure: StartFailure) -> None:
        reason, message = failure.reason, failure.message
        wait = _RETRY_SECONDS
        self._tell("Warning", failure.event, message)
        if reason in _IMAGE_REASONS:
            # Said as it is once, then with growing waits, as upstream.
            wait = min(_RETRY_SECONDS * 2 ** max(slot.failures - 1, 0), _IMAGE_RETRY_MAX_SECONDS)
            if reason == "ErrImagePull" and slot.failures:
                image = self._specs[name].get("image", "")
                reason = "ImagePullBackOff"
                message = f'Back-off pulling image "{image}": ErrImagePull: {message}'
                self._tell("Normal", "BackOff", f'Back-off pulling image "{image}"')
            elif reason == "ErrImagePull":
                wait = 1.0
        slot.failures += 1
        retry_at = self._services.clock.now() + _seconds(wait)
        slot.change(trouble=WaitingReason(reason, message, retry_at))

    # ---- watching what runs

    def _adopt(self) -> None:
        """Take up what an earlier agent started."""
        for name, slot in self._slots.items():
            attempts = self._attempts.last(name)
            if not attempts:
                continue
            if len(attempts) > 1:
                slot.change(previous=attempts[0])
            slot.change(attempt=attempts[-1], streak=attempts[-1].number)
            if attempts[-1].is_live:
                self._watch(name, attempts[-1], adopted=True)

    def _watch(self, name: str, attempt: Attempt, *, adopted: bool = False) -> None:
        slot = self._slots[name]
        slot.change(attempt=attempt)
        if attempt.is_live:
            self._probe(name, adopted=adopted)
            slot.watching = asyncio.create_task(self._watch_end(name, attempt.number))
        else:
            self._tell_end(name, attempt)

    async def _watch_end(self, name: str, number: int) -> None:
        slot, folder = self._slots[name], self._attempts.folder(name, number)
        network = self._preparation.network(self.pod)
        target = probes.Target(self._address, folder, self._services.runtime, self._owner, network)
        verdicts, is_started = Verdicts(slot, self.wake, self._tell), slot.container.is_started
        probing = asyncio.create_task(
            probes.watch(self._specs[name], target, verdicts, started=is_started)
        )
        try:
            await self._services.runtime.wait(folder)
        finally:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
        attempt = self._attempts.read(name, number)
        slot.change(attempt=attempt, is_started=False, is_ready=False)
        self._tell_end(name, attempt)
        self.wake()

    def _probe(self, name: str, *, adopted: bool) -> None:
        """The first verdicts, before any probe ran."""
        spec, slot = self._specs[name], self._slots[name]
        known: Object = {}
        if adopted:
            told = [
                *(meta.dig(self.pod, "status.containerStatuses") or ()),
                *(meta.dig(self.pod, "status.initContainerStatuses") or ()),
            ]
            known = next((each for each in told if each["name"] == name), {})
        started = "startupProbe" not in spec or bool(known.get("started"))
        ready = "readinessProbe" not in spec or bool(known.get("ready"))
        slot.change(is_started=started, is_ready=ready)

    def _tell_end(self, name: str, attempt: Attempt) -> None:
        if not attempt.is_over or meta.is_deleting(self.pod):
            return
        if plan.restarts(self.pod, self._specs[name], attempt) and attempt.number:
            text = f"Back-off restarting failed container {name} in pod {meta.name(self.pod)}"
            self._tell("Warning", "BackOff", text)

    # ---- ending

    async def _signal(self, name: str, number: int) -> None:
        attempt = self._slots[name].container.attempt
        if attempt and attempt.is_live:
            await self._services.runtime.signal(
                self._attempts.folder(name, attempt.number), number
            )

    async def _release(self) -> None:
        if not self._is_released:
            self._is_released = True
            self._services.addresses.release(self.uid, self._address)
            # A pod may have left a million files.
            await asyncio.to_thread(self._preparation.remove_volumes)
            await self._attempts.shed()

    async def _remove(self) -> bool:
        if not self.pod["metadata"].get("finalizers"):
            await self._remove_folder()
        options = DeleteOptions(grace_seconds=0, uid=self.uid)
        with contextlib.suppress(NotFound, Conflict):
            await self._services.client.delete(
                POD, meta.name(self.pod), meta.namespace(self.pod), options
            )
        await self._release()
        return not self._wake.is_set()

    async def _pass_gone(self) -> bool:
        live = False
        for name, slot in self._slots.items():
            if slot.starting:
                slot.abandon()
                live = True
            elif slot.container.attempt and slot.container.attempt.is_live:
                live = True
                await self._signal(name, signal.SIGKILL)
        if live:
            await self._pause(None)
            return False
        await self._release()
        await self._remove_folder()
        self._on_end(self)
        return True

    async def _remove_folder(self) -> None:
        await asyncio.to_thread(trees.remove, self._folder)

    # ---- status

    async def _report(self) -> None:
        while not self._is_gone:
            wanted = statuses.build(
                self.pod, self._view(), self._place, self._services.clock.now()
            )
            if wanted == self.pod.get("status"):
                return
            try:
                stored = await self._services.client.update(
                    POD, {**self.pod, "status": wanted}, subresource="status"
                )
            except Conflict:
                stored = await self._services.client.get(
                    POD, meta.name(self.pod), meta.namespace(self.pod)
                )
                if meta.uid(stored) != self.uid:
                    return
                self.pod = stored
            except NotFound:
                return
            else:
                if _version(stored) > _version(self.pod):
                    self.pod = stored
                return

    def _tell_unwritten(self, reason: str) -> None:
        """Log why the status is not written, or that it is again: once, not at each try."""
        pod = meta.name(self.pod)
        if reason and reason != self._unwritten:
            _log.warning("pod status not written", extra=fields(pod=pod, reason=reason))
        elif self._unwritten and not reason:
            _log.warning("pod status written again", extra=fields(pod=pod))
        self._unwritten = reason

    def _has_news(self, todo: plan.Plan) -> bool:
        """Whether there is more to tell than that it is starting or has just started."""
        return (
            plan.Release() in todo.actions
            or plan.Remove() in todo.actions
            or any(slot.container.trouble or slot.container.doing for slot in self._slots.values())
        )

    def _view(self) -> dict[str, Container]:
        return {name: slot.container for name, slot in self._slots.items()}

    def _is_starting(self) -> bool:
        return any(slot.container.is_starting for slot in self._slots.values())

    def _tell(self, type_: str, reason: str, message: str) -> None:
        self._services.events.tell(self.pod, type_, reason, message)

    async def _refresh_volumes(self, now: datetime) -> None:
        due = self._preparation.refresh_at
        if not self._must_refresh and (due is None or due > now):
            return
        self._must_refresh = False
        if self._is_released or not any(slot.container.attempt for slot in self._slots.values()):
            return
        try:
            await self._preparation.refresh(self.pod)
        except StartFailure as failure:
            self._tell("Warning", failure.event, failure.message)


def _version(obj: Object) -> int:
    return int(obj["metadata"]["resourceVersion"])


def _seconds(number: float) -> timedelta:
    return timedelta(seconds=number)
