"""One pod's life on this node: observe, plan, act, report; one task a pod that is not at rest.

What is done with each container is its own worker's affair (``containers``), what is written of
the pod the record's (``podrecord``), and what is due the plan's (``plan``).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta

from bessemer.base import logs, trees
from bessemer.base.clock import Steps
from bessemer.base.logs import fields
from bessemer.cluster.kubelet.errors import StartFailure
from bessemer.cluster.kubelet.pods import plan
from bessemer.cluster.kubelet.pods.attempts import Attempts
from bessemer.cluster.kubelet.pods.containers import ContainerWorker, PodParts
from bessemer.cluster.kubelet.pods.dependencies import KubeletDependencies
from bessemer.cluster.kubelet.pods.listeners import Owner
from bessemer.cluster.kubelet.pods.plan import Container
from bessemer.cluster.kubelet.pods.podrecord import PodRecord
from bessemer.cluster.kubelet.pods.preparation import Preparation
from bessemer.cluster.kubelet.pods.spec import unheld
from bessemer.cluster.kubelet.pods.status import NodeAddresses
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.pod import has_ended
from bessemer.kube.errors import ApiError

_log = logs.get(__name__)
# A status is only worth its write when it lasts: "waiting" when starting takes longer than this,
# "running" when the container does.
_QUIET_STARTING = timedelta(seconds=0.05)
_QUIET_STARTED = timedelta(seconds=0.02)
_RETRY_SECONDS = 10.0
_REPORT_RETRY_SECONDS = 1.0
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
        self.uid = meta.uid(pod)
        self._services = services
        self._on_end = on_end
        self._folder = services.home.pods / self.uid
        with contextlib.suppress(OSError):  # a full disk: each start tries again, and says so
            services.spares.give(self._folder)
        self._address = services.addresses.of_pod(pod, self._folder)
        self._preparation = Preparation(services, self._folder, self._address)
        specs = {spec["name"]: spec for spec in plan.all_containers(pod)}
        self._attempts = Attempts(self._folder, specs, services.runtime)
        config = services.config
        place = NodeAddresses(
            config.host_ip,
            self._address,
            unheld(specs.values(), services.runtime),
            config.images.stand_ins(specs.values()),
        )
        self._record = PodRecord(services, pod, place)
        owner = Owner(self._address, lambda: plan.find_pids(self._view()))
        parts = PodParts(
            services, self._record, self._preparation, self._attempts, self._address, owner,
            self.wake,
        )  # fmt: skip
        self._containers = {name: ContainerWorker(spec, parts) for name, spec in specs.items()}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_released = False
        self._is_stopped = False
        self._must_refresh = False
        self._begun_at = services.clock.now()
        self._steps = Steps(services.clock)
        for container in self._containers.values():
            container.adopt()

    @property
    def pod(self) -> Object:
        """The object, as new as it is known."""
        return self._record.pod

    # ---- told from outside

    def update(self, pod: Object) -> None:
        """The object changed."""
        before = self.pod["metadata"]
        if not self._record.follow(pod):
            return
        shown = ("annotations", "labels")  # in volumes of the downward API
        if any(pod["metadata"].get(name) != before.get(name) for name in shown):
            self._must_refresh = True
        self.wake()

    def refresh(self) -> None:
        """An object that the pod refers to changed."""
        self._must_refresh = True
        self.retry()

    def retry(self) -> None:
        """Something that could not be started may be now."""
        retried = [container.retry() for container in self._containers.values()]
        if any(retried) or self._must_refresh:
            self.wake()

    def gone(self) -> None:
        """The object is gone: nothing of the pod may stay."""
        self._record.is_gone = True
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
        tasks = [task for each in self._containers.values() for task in each.let_go()]
        if self._task:
            self._task.cancel()
            tasks.append(self._task)
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- the loop

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                if await self._pass():
                    return
            except ApiError as error:
                self._record.tell_unwritten(str(error))
                await self._pause(self._in(_REPORT_RETRY_SECONDS))
            except Exception:  # noqa: BLE001 - a bug must not leave the pod alone for ever
                _log.exception("pod not advanced", extra=fields(pod=meta.name(self.pod)))
                await self._pause(self._in(_RETRY_SECONDS))

    async def _pass(self) -> bool:
        """Do what is due; True when the pod rests until it is woken."""
        self._follow_clock()
        now = self._services.clock.now()
        if self._record.is_gone:
            return await self._pass_gone()
        await self._refresh_volumes(now)
        todo = plan.decide(self.pod, self._view(), now)
        for action in todo.actions:
            await self._act(action)
        quiet_until = self._quiet_until()
        if now < quiet_until and not self._has_news(todo):
            await self._pause(quiet_until)
            return False
        await self._record.report(self._view)
        self._record.tell_unwritten("")
        return await self._rest(todo)

    async def _rest(self, todo: plan.Plan) -> bool:
        """Once the status is told: let go of what is over, or wait; True: rest until woken."""
        if plan.Release() in todo.actions:  # whoever waits for its end waits no longer for this
            await self._release()
        if plan.Remove() in todo.actions:
            return await self._remove()
        if self._is_released and not self._wake.is_set():
            if has_ended(self.pod):
                self._on_end(self)
            return True
        if not todo.actions or any(each.is_starting for each in self._view().values()):
            times = [moment for moment in (todo.wake_at, self._preparation.refresh_at) if moment]
            await self._pause(min(times, default=None))
        return False

    def _follow_clock(self) -> None:
        """Move what is waited for along with the wall clock when somebody sets it."""
        if step := self._steps.take():
            self._begun_at += step
            for container in self._containers.values():
                container.shift(step)

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
            case plan.Start(name):
                self._containers[name].start(action)
            case plan.Abandon(name):
                self._containers[name].abandon()
            case plan.Stop(name):
                await self._containers[name].stop(action)
            case plan.Kill(name):
                await self._containers[name].kill()
            case plan.Release() | plan.Remove():
                pass  # after the report

    def _view(self) -> dict[str, Container]:
        return {name: container.known for name, container in self._containers.items()}

    def _quiet_until(self) -> datetime:
        """Until when nobody need be told that the pod is starting, or has just started."""
        started = [each.started_at for each in self._containers.values() if each.started_at]
        return max(started) + _QUIET_STARTED if started else self._begun_at + _QUIET_STARTING

    def _has_news(self, todo: plan.Plan) -> bool:
        """Whether there is more to tell than that."""
        return (
            plan.Release() in todo.actions
            or plan.Remove() in todo.actions
            or any(each.trouble or each.doing for each in self._view().values())
        )

    async def _refresh_volumes(self, now: datetime) -> None:
        due = self._preparation.refresh_at
        if not self._must_refresh and (due is None or due > now):
            return
        self._must_refresh = False
        if self._is_released or not any(each.attempt for each in self._view().values()):
            return
        try:
            await self._preparation.refresh(self.pod)
        except StartFailure as failure:
            self._record.tell("Warning", failure.event, failure.message)

    # ---- ending

    async def _release(self) -> None:
        """Give back what only running pods need."""
        if not self._is_released:
            self._is_released = True
            self._services.addresses.release(self.uid, self._address)
            # A pod may have left a million files.
            await asyncio.to_thread(self._preparation.remove_volumes)
            await self._attempts.shed()

    async def _remove(self) -> bool:
        if not self.pod["metadata"].get("finalizers"):
            await self._remove_folder()
        await self._record.delete()
        await self._release()
        return not self._wake.is_set()

    async def _pass_gone(self) -> bool:
        live = [await container.end_at_once() for container in self._containers.values()]
        if any(live):
            await self._pause(None)
            return False
        await self._release()
        await self._remove_folder()
        self._on_end(self)
        return True

    async def _remove_folder(self) -> None:
        await asyncio.to_thread(trees.remove, self._folder)

    def _in(self, seconds: float) -> datetime:
        return self._services.clock.now() + timedelta(seconds=seconds)
