"""Drives runs: shows each run's plan what its pods did, and does what the plan asks for.

Keyed by run id. A plan lives in memory while its run is unfinished; any error drops it, and the
next reconcile builds it again from the history and the pods. To change what is decided open
``plan``; what a pod looks like, ``pods``; where outputs are, ``outputs``; what happens to the
pods of ended runs, ``sweeping``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from bessemer.artifacts.store import ArtifactStore, NotReady
from bessemer.base import ids, logs
from bessemer.base.clock import Clock
from bessemer.base.logs import fields
from bessemer.control.reconcile import DONE, GONE, Key, Result
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIM
from bessemer.kinds.pod import POD
from bessemer.kube.client import Client
from bessemer.kube.errors import (
    AlreadyExists,
    ApiError,
    InternalError,
    NotFound,
    ServiceUnavailable,
    Timeout,
    TooManyRequests,
)
from bessemer.pipelines import (
    actions,
    claims,
    executor_io,
    importer,
    outputs,
    placeholders,
    platform,
    pods,
)
from bessemer.pipelines.actions import CreatePod, Save
from bessemer.pipelines.errors import LeaseLost
from bessemer.pipelines.leases import Replica
from bessemer.pipelines.ledger import ENDED_RUNS
from bessemer.pipelines.outputs import InvalidRoot
from bessemer.pipelines.ownership import Ownership
from bessemer.pipelines.plan import Plan
from bessemer.pipelines.podindex import PodIndex
from bessemer.pipelines.records import Artifact, History, Lease, Run, RunState, StateChange, Task
from bessemer.pipelines.spec import InvalidSpec, load
from bessemer.pipelines.sweeping import Sweeper

_log = logs.get(__name__)

# How often to look whether a place for artifacts that was deleted can be made again.
_PLACE_LOOK_SECONDS = 1.0
# Answers that may change when asked again; any other refusal of a pod is final.
_PASSING = (ServiceUnavailable, Timeout, TooManyRequests, InternalError)


@dataclass(frozen=True)
class EngineOptions:
    """Where the engine keeps what steps make, and how patient it is."""

    artifacts: ArtifactStore
    stuck_seconds: float = 20.0  # how long a pod may fail to get its image or settings
    log_lines: int = 15  # of a failed step, in its error
    # Who this engine is among the replicas; by itself unless told otherwise.
    replica: Replica = field(default_factory=lambda: Replica(ids.make_uid(), is_alone=True))


@dataclass
class _Drive:
    """A plan, and what is known only while it is driven."""

    plan: Plan
    lease: Lease
    misses_place: bool = False  # a pod waits, perhaps for the place of artifacts
    stuck: dict[str, float] = field(default_factory=dict)  # pod -> monotonic time


class RunReconciler:
    """Makes one run's world closer to its end."""

    def __init__(
        self,
        client: Client,
        history: History,
        index: PodIndex,
        sweeper: Sweeper,
        clock: Clock,
        settings: EngineOptions,
    ) -> None:
        self._client = client
        self._history = history
        self._index = index
        self._sweeper = sweeper
        self._clock = clock
        self._settings = settings
        self.ownership = Ownership(history, settings.replica, clock)
        self._artifacts = settings.artifacts
        self._drives: dict[str, _Drive] = {}
        self._stale: set[str] = set()  # runs to be read again

    def forget(self, run_id: str) -> None:
        """Read the run again at its next reconcile: somebody else changed its row."""
        self._stale.add(run_id)
        self.ownership.forget(run_id)

    def driven(self) -> dict[str, bool]:
        """The runs that are driven, and whether each is known to be asked to end."""
        return {run_id: drive.plan.is_canceling for run_id, drive in self._drives.items()}

    async def reconcile(self, key: Key) -> Result:
        """Observe the run's pods, and do what follows."""
        run_id = key.name
        if run_id in self._stale:  # told while another reconcile of it was under way, perhaps
            self._stale.discard(run_id)
            self._drop(run_id)
        drive = self._drives.get(run_id)
        if drive is None and self.ownership.is_anothers(run_id):
            self._index.forget_changes(run_id)
            return GONE
        try:
            if drive is None:
                drive = await self._load(run_id)
                if drive is None:
                    return await self._sweeper.sweep(run_id)
                self._drives[run_id] = drive
            self.ownership.check(run_id)
            result = await self._drive(drive)
        except LeaseLost as error:  # its owner does what is to be done
            self._drop(run_id)
            self._index.forget_changes(run_id)
            _log.info("another replica drives the run", extra=fields(run=run_id, why=str(error)))
            return GONE
        except BaseException:
            self._drop(run_id)
            raise
        if drive.plan.ended:
            self._drop(run_id)
            return Result(requeue_after=self._sweeper.retention)
        return result

    def _drop(self, run_id: str) -> None:
        if (drive := self._drives.pop(run_id, None)) is not None:
            drive.plan.close()

    async def _load(self, run_id: str) -> _Drive | None:
        """The run as the history has it, begun; None if it is over or gone.

        Raises:
            LeaseLost: another replica drives it, or may.
        """
        loaded = await self._history.load_run(run_id)
        if loaded is None or loaded[0].state in ENDED_RUNS:
            return None
        run, tasks, artifacts = loaded
        run = await self.ownership.claim(run)
        try:
            spec = load({"pipeline_spec": run.spec, "platform_spec": run.platform_spec})
            root = outputs.run_root(run, spec, self._artifacts)
        except (InvalidSpec, InvalidRoot) as error:
            await self._refuse(run, str(error))
            return None
        try:
            await self._artifacts.prepare(run.namespace)
        except NotFound as error:
            await self._refuse(run, f"the run's namespace is gone: {error}")
            return None
        self._index.mark_all(run_id)
        plan = Plan(run, spec, root, tasks, artifacts)
        plan.start(self._clock.now())
        return _Drive(plan, run.lease)

    async def _refuse(self, run: Run, why: str) -> None:
        now = self._clock.now()
        change = StateChange(RunState.FAILED, now, why)
        await self._history.save(
            replace(
                run,
                state=RunState.FAILED,
                error=why,
                finished_at=now,
                history=(*run.history, change),
            ),
            lease=run.lease,
        )

    async def _drive(self, drive: _Drive) -> Result:
        plan = drive.plan
        now = self._clock.now()
        for change in self._index.take(plan.run):
            await self._observe(drive, change.name, change.pod, is_gone=change.is_gone)
        for name in list(drive.stuck):
            await self._observe(drive, name, self._index.get(plan.run, name))
        if drive.misses_place:
            await self._have_place(drive)
        plan.wake(now)
        wake = await self._act(drive)
        waits = [wake] if wake is not None else []
        if drive.misses_place:
            waits.append(_PLACE_LOOK_SECONDS)
        if drive.stuck:
            waits.append(self._settings.stuck_seconds)
        return Result(requeue_after=min(waits)) if waits else DONE

    async def _have_place(self, drive: _Drive) -> None:
        """Make the place of artifacts again, if that is what a pod waits for.

        Where it can't be made yet, the run goes on: other pods of it may end meanwhile.
        """
        try:
            await self._artifacts.prepare(drive.plan.run.namespace)
        except (NotReady, ApiError) as error:
            _log.info(
                "no place for artifacts yet", extra=fields(run=drive.plan.run.id, why=str(error))
            )
        else:
            drive.misses_place = False

    # What pods did.

    async def _observe(
        self, drive: _Drive, name: str, pod: Object | None, *, is_gone: bool = False
    ) -> None:
        plan = drive.plan
        node = plan.waits_for(name)
        if node is None or pod is None:
            drive.stuck.pop(name, None)
            return
        seen = pods.observe(pod)
        if seen.note:
            plan.pod_noted(name, seen.note, self._clock.now())
        if seen.phase is not pods.Phase.STUCK:
            drive.stuck.pop(name, None)
        if seen.phase is pods.Phase.SUCCEEDED:
            await self._succeed(drive, name)
        elif seen.phase is pods.Phase.FAILED:
            why = await self._explain(plan, name, seen)
            plan.pod_failed(name, why, self._clock.now())
        elif is_gone:
            why = "its pod was deleted before it ended"
            plan.pod_failed(name, why, self._clock.now())
        elif seen.phase is pods.Phase.STUCK:
            await self._wait_for(drive, name, seen)
        else:
            # Why it waits, or that it does no more.
            plan.pod_waits(name, seen.why, self._clock.now())
            drive.misses_place |= seen.phase is pods.Phase.WAITING

    async def _succeed(self, drive: _Drive, name: str) -> None:
        plan = drive.plan
        node = plan.waits_for(name)
        assert node is not None, "only awaited pods succeed"
        assert node.task is not None, "a pod has a row"
        task, component = node.task, node.component
        try:
            namespace = plan.run.namespace
            written = await outputs.read(task, component, namespace, self._artifacts)
            values, made = executor_io.read_output(task, component, written)
        except executor_io.InvalidOutput as error:
            plan.pod_failed(name, str(error), self._clock.now())
        else:
            plan.pod_succeeded(name, values, made, self._clock.now())

    async def _explain(self, plan: Plan, name: str, seen: pods.Observed) -> str:
        """Why a pod failed, with the end of its log."""
        node = plan.waits_for(name)
        if not seen.has_log or node is None or node.task is None or plan.is_canceling:
            return seen.why
        tail = await self._sweeper.tail(plan.run, node.task, self._settings.log_lines)
        return f"{seen.why}; its log ends:\n{tail}" if tail else seen.why

    async def _wait_for(self, drive: _Drive, name: str, seen: pods.Observed) -> None:
        """Give a pod that can't start some time, then give it up."""
        now = self._clock.monotonic()
        since = drive.stuck.setdefault(name, now)
        if not seen.hopeless and now - since < self._settings.stuck_seconds:
            drive.plan.pod_waits(name, seen.why, self._clock.now())
            return
        del drive.stuck[name]
        drive.plan.pod_failed(name, seen.why, self._clock.now())
        await self._delete(drive.plan.run, name)

    # What the plan asks for.

    async def _act(self, drive: _Drive) -> float | None:
        """Do all that the plan asks for; the seconds until it wants to be woken."""
        plan = drive.plan
        wake: float | None = None
        while True:
            save, creates, others = _sort(await self._answered(drive))
            # Side by side: what a crash leaves of one is made again from the other.
            saving = asyncio.create_task(self._save(save, drive.lease))
            try:
                if creates:
                    await self._start_pods(drive, creates)
            finally:
                await saving
            for action in others:
                if isinstance(action, actions.CreateClaim | actions.DeleteClaim):
                    await self._change_claim(plan, action)
                elif isinstance(action, actions.WakeAt):
                    wake = max((action.at - self._clock.now()).total_seconds(), 0.0)
                elif isinstance(action, actions.DeletePod) and not await self._delete(
                    plan.run, action.name
                ):
                    plan.pod_failed(action.name, "its pod is gone", self._clock.now())
            if not plan.has_actions:
                return wake

    async def _save(self, save: Save | None, lease: Lease) -> None:
        if save is not None:
            await self._history.save(save.run, save.tasks, save.artifacts, lease)

    async def _answered(self, drive: _Drive) -> list[actions.Action]:
        """The plan's actions, its questions answered, so that all rows go in one transaction."""
        plan = drive.plan
        result: list[actions.Action] = []
        while True:
            questions = 0
            for action in plan.actions():
                if isinstance(action, actions.LookUpCache):
                    await self._look_up(plan, action)
                elif isinstance(action, actions.ImportArtifact):
                    await self._import(plan, action)
                else:
                    result.append(action)
                    continue
                questions += 1
            if not questions:
                return result

    async def _look_up(self, plan: Plan, action: actions.LookUpCache) -> None:
        found = await self._history.find_cached(plan.run.namespace, plan.name, action.fingerprint)
        now = self._clock.now()
        if found is None:
            plan.cache_missed(action.task_id, now)
            return
        task, artifacts = found
        # Unlike upstream: a cached artifact that was deleted is no hit.
        if not await outputs.exist(artifacts, plan.run.namespace, self._artifacts):
            plan.cache_missed(action.task_id, now)
        else:
            plan.cache_found(action.task_id, task.outputs, artifacts, now)

    async def _import(self, plan: Plan, action: actions.ImportArtifact) -> None:
        new, known = action.artifact, None
        try:
            uri = importer.place(new.uri, action.importer, plan.run.namespace, self._artifacts)
        except importer.InvalidImport as error:
            plan.refused(action.task_id, str(error), self._clock.now())
            return
        new = replace(new, uri=uri)
        if await self._artifacts.find(plan.run.namespace, uri) is None:
            why = f"importer {action.importer!r} finds nothing at {uri}"
            plan.refused(action.task_id, why, self._clock.now())
            return
        if not action.reimport:
            known = await self._history.find_artifact(
                plan.run.namespace, new.uri, new.type, new.metadata
            )
        plan.imported(action.task_id, known or new, self._clock.now(), is_new=known is None)

    async def _change_claim(
        self, plan: Plan, action: actions.CreateClaim | actions.DeleteClaim
    ) -> None:
        """Create or delete a claim; to do it twice, over a crash, is as good as once."""
        try:
            if isinstance(action, actions.CreateClaim):
                name = await self._create_claim(action, plan.run.namespace)
            else:
                name = await self._delete_claim(action, plan.run.namespace)
        except _PASSING:
            raise
        except ApiError as error:
            plan.refused(action.task_id, str(error), self._clock.now())
        else:
            plan.claim_done(action.task_id, name, self._clock.now())

    async def _create_claim(self, action: actions.CreateClaim, namespace: str) -> str:
        kind = PERSISTENT_VOLUME_CLAIM
        try:
            await self._client.create(kind, action.claim)
        except AlreadyExists:
            there = await self._client.get(kind, meta.name(action.claim), namespace)
            if not claims.is_of(there, action.task_id):
                raise
        return meta.name(action.claim)

    async def _delete_claim(self, action: actions.DeleteClaim, namespace: str) -> str:
        try:
            await self._client.delete(PERSISTENT_VOLUME_CLAIM, action.name, namespace)
        except NotFound:
            if not action.again:
                raise
        return action.name

    async def _start_pods(self, drive: _Drive, creates: list[CreatePod]) -> None:
        pods_of = {action.task.task_root: action.task.pod_name for action in creates}
        refused = await self._artifacts.lay_out(drive.plan.run.namespace, pods_of)
        for root, why in refused.items():
            drive.plan.pod_failed(pods_of[root], why, self._clock.now())
        async with asyncio.TaskGroup() as group:
            for action in creates:
                group.create_task(self._start_pod(drive, action))

    async def _start_pod(self, drive: _Drive, action: CreatePod) -> None:
        run, name = drive.plan.run, action.task.pod_name
        if drive.plan.waits_for(name) is None:
            return  # its end was seen before the plan asked for it again, after a restart
        known = self._index.get(run, name)
        if known is not None:
            await self._observe(drive, name, known)
            return
        attached = self._artifacts.attach(run.namespace, action.task.task_root)
        try:
            await self._client.create(POD, pods.build(action, run, attached))
        except AlreadyExists:
            await self._adopt(drive, name)
        except _PASSING:
            raise
        except placeholders.MissingValue as error:
            drive.plan.pod_failed(name, str(error), self._clock.now())
        except (ApiError, platform.InvalidSetting, placeholders.TooLong) as error:
            drive.plan.pod_failed(name, f"its pod was refused: {error}", self._clock.now())
        else:
            _log.debug("pod created", extra=fields(run=run.id, pod=name))

    async def _adopt(self, drive: _Drive, name: str) -> None:
        """A pod of that name exists: ours, from before a crash, unless it has no label of ours."""
        run = drive.plan.run
        pod = await self._client.get(POD, name, run.namespace)
        if meta.labels(pod).get(pods.RUN_LABEL) != run.id:
            why = f"a pod {name!r} that is not of this run is in its way; delete it and run again"
            drive.plan.pod_failed(name, why, self._clock.now())
            return
        await self._observe(drive, name, pod)

    async def _delete(self, run: Run, name: str) -> bool:
        """Ask for a pod's end; False if there is none."""
        try:
            await self._client.delete(POD, name, run.namespace)
        except NotFound:
            return False
        return True


def _sort(
    wanted: Iterable[actions.Action],
) -> tuple[Save | None, list[CreatePod], list[actions.Action]]:
    """One save of all rows (later ones win), the pods to create, and the rest."""
    run: Run | None = None
    tasks: dict[str, Task] = {}
    artifacts: list[Artifact] = []
    creates: list[CreatePod] = []
    others: list[actions.Action] = []
    must_save = False
    for action in wanted:
        if isinstance(action, Save):
            must_save = True
            run = action.run or run
            tasks.update((task.id, task) for task in action.tasks)
            artifacts += action.artifacts
        elif isinstance(action, CreatePod):
            creates.append(action)
        else:
            others.append(action)
    save = Save(run, tuple(tasks.values()), tuple(artifacts)) if must_save else None
    return save, creates, others
