"""Jobs: observe pods, plan, write status, count, end and make pods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from bessemer.base.clock import Clock
from bessemer.cluster.controllers.job import indexes, plan, pod_tracking
from bessemer.control import adoption
from bessemer.control import pods as podrules
from bessemer.control.events import EventRecorder
from bessemer.control.reconcile import DONE, Key, Result
from bessemer.control.sources import own_key, owner_key
from bessemer.control.writer import Writer, slow_start, together
from bessemer.kinds import meta
from bessemer.kinds.job import JOB
from bessemer.kinds.kind import Object
from bessemer.kinds.pod import POD
from bessemer.kube.errors import ApiError, is_terminating
from bessemer.kube.informer import Informers


class JobReconciler:
    """Runs a Job's pods to their end and counts them."""

    def __init__(
        self, writer: Writer, informers: Informers, recorder: EventRecorder, clock: Clock
    ) -> None:
        self._writer = writer
        self._jobs = informers.of(JOB)
        self._pods = informers.of(POD)
        self._recorder = recorder
        self._clock = clock

    async def reconcile(self, key: Key) -> Result:
        """One pass. Finished Jobs are only counted out, and deleted when their time is over."""
        job = self._jobs.get(key.name, key.namespace)
        if job is None:
            return DONE
        now = self._clock.now()
        left = plan.expires_in(job, now)
        if left is not None and left <= 0:
            await self._writer.delete(JOB, job)
            return DONE
        if not plan.is_ours(job):
            return Result(left)
        if not plan.is_finished(job):
            await self._claim(job)
        pods = adoption.controlled(job, self._pods.by_owner(meta.uid(job)))
        step = plan.make(job, pods, now)
        job = await self._writer.update_status(JOB, job, step.status)
        await together(_remove_tracking_finalizer(self._writer, pod) for pod in step.untrack)
        await together(self._drop(job, pod) for pod in step.drop)
        await together(self._delete(job, pod) for pod in step.delete)
        failure = await self._create(job, step)
        await self._tell(job, step)
        if failure:
            raise failure
        waits = [w for w in (step.look_again_after, plan.expires_in(job, now)) if w is not None]
        return Result(max(min(waits), 0.01) if waits else None)

    async def _claim(self, job: Object) -> None:
        """Take in pods that the selector picks and nobody controls; let strangers go."""
        claim = adoption.claim(
            job,
            self._pods.by_owner(meta.uid(job)),
            self._pods.list(meta.namespace(job)),
        )
        for pod in claim.adopt:
            patch = adoption.adopt(pod, job)
            kept = pod["metadata"].get("finalizers") or []
            if plan.FINALIZER not in kept:
                patch["metadata"]["finalizers"] = [*kept, plan.FINALIZER]
            await self._writer.patch(POD, pod, patch)
        for pod in claim.release:
            patch = adoption.release(pod, job)
            patch["metadata"]["finalizers"] = _without_ours(pod)
            await self._writer.patch(POD, pod, patch)

    async def _drop(self, job: Object, pod: Object) -> None:
        left = await _remove_tracking_finalizer(self._writer, pod)
        if left is not None:
            await self._delete(job, left)

    async def _delete(self, job: Object, pod: Object) -> None:
        if await self._writer.delete(POD, pod):
            text = f"Deleted pod: {meta.name(pod)}"
            await self._recorder.record(job, "Normal", "SuccessfulDelete", text)

    async def _create(self, job: Object, step: plan.Plan) -> ApiError | None:
        """Make the pods; the answer is why that failed."""
        refused = await slow_start(
            [partial(self._create_one, job, index, step.failures) for index in step.create]
        )
        if refused is None or is_terminating(refused):
            return None  # if the Job goes too, nobody has to be told
        text = f"Error creating: {refused.message}"
        await self._recorder.record(job, "Warning", "FailedCreate", text)
        return refused

    async def _create_one(
        self, job: Object, index: int | None, failures: Mapping[int, indexes.Failures]
    ) -> None:
        wanted = _pod(job, index, failures.get(index) if index is not None else None)
        pod = await self._writer.create(POD, wanted)
        text = f"Created pod: {meta.name(pod)}"
        await self._recorder.record(job, "Normal", "SuccessfulCreate", text)

    async def _tell(self, job: Object, step: plan.Plan) -> None:
        if step.suspension:
            text = f"Job {step.suspension.lower()}"
            await self._recorder.record(job, "Normal", step.suspension, text)
        verdict = step.verdict
        if verdict is None:
            return
        if verdict.type == "Complete":
            await self._recorder.record(job, "Normal", "Completed", "Job completed")
        else:
            await self._recorder.record(job, "Warning", verdict.reason, verdict.message)


class OrphanReconciler:
    """Keyed by pod: takes our finalizer off pods whose Job is not there to count them."""

    def __init__(self, writer: Writer, informers: Informers) -> None:
        self._writer = writer
        self._jobs = informers.of(JOB)
        self._pods = informers.of(POD)

    async def reconcile(self, key: Key) -> Result:
        """One pass."""
        pod = self._pods.get(key.name, key.namespace)
        if pod is not None and self._is_orphan(pod):
            await _remove_tracking_finalizer(self._writer, pod)
        return DONE

    def find_keys(self, pod: Object) -> Iterable[Key]:
        """The pod's own key, if it is an orphan."""
        return own_key(pod) if self._is_orphan(pod) else ()

    def find_left(self, job: Object) -> Iterable[Key]:
        """The orphans that the Job, if it is gone, has left."""
        for pod in self._pods.by_owner(meta.uid(job)):
            yield from self.find_keys(pod)

    def _is_orphan(self, pod: Object) -> bool:
        if not pod_tracking.has_tracking_finalizer(pod):
            return False
        owner = meta.controller_of(pod)
        if owner is None:
            return True
        keys = owner_key(JOB)(pod)  # none: another controller's pod
        found = [self._jobs.get(key.name, key.namespace) for key in keys]
        # Another Job may have its name by now.
        return any(job is None or meta.uid(job) != owner["uid"] for job in found)


async def _remove_tracking_finalizer(writer: Writer, pod: Object) -> Object | None:
    """Take the finalizer off; the answer is the pod as it is then, None when it is gone."""
    if not pod_tracking.has_tracking_finalizer(pod):
        return pod
    version = pod["metadata"]["resourceVersion"]
    patch = {"metadata": {"finalizers": _without_ours(pod), "resourceVersion": version}}
    return await writer.patch(POD, pod, patch)


def _without_ours(pod: Object) -> list[str]:
    return [name for name in pod["metadata"].get("finalizers") or () if name != plan.FINALIZER]


def _pod(job: Object, index: int | None, before: indexes.Failures | None) -> Object:
    pod = podrules.from_template(job["spec"]["template"], job)
    metadata = pod["metadata"]
    metadata["finalizers"] = [*metadata.get("finalizers", ()), plan.FINALIZER]
    if index is not None:
        indexes.stamp(pod, meta.name(job), index, before)
    return pod
