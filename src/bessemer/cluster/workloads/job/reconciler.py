"""Jobs: observe pods, plan, write status, count, end and make pods."""

from __future__ import annotations

import asyncio

from bessemer.base.clock import Clock
from bessemer.cluster.workloads import pods as podrules
from bessemer.cluster.workloads.job import indexes, plan
from bessemer.cluster.workloads.writer import Writer
from bessemer.control.events import EventRecorder
from bessemer.control.reconcile import DONE, Key, Result
from bessemer.kube.errors import ApiError
from bessemer.kube.informer import Informers
from bessemer.resources import meta
from bessemer.resources.job import JOB
from bessemer.resources.kind import Object
from bessemer.resources.pod import POD


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
            await self._let_go(key)
            return DONE
        now = self._clock.now()
        if (left := plan.expires_in(job, now)) is not None and left <= 0:
            await self._writer.delete(JOB, job)
            return DONE
        step = plan.make(job, self._pods.by_owner(meta.uid(job)), now)
        job = await self._writer.update_status(JOB, job, step.status)
        await asyncio.gather(*(self._uncover(pod) for pod in step.uncover))
        await asyncio.gather(*(self._delete(job, pod) for pod in step.delete))
        failure = await self._create(job, step.create)
        await self._tell(job, step)
        if failure:
            raise failure
        waits = [w for w in (step.look_again_after, plan.expires_in(job, now)) if w is not None]
        return Result(max(min(waits), 0.01) if waits else None)

    async def _let_go(self, key: Key) -> None:
        """The Job is gone: its pods need no counting any more and may go too."""
        for pod in self._pods.list(key.namespace):
            owner = meta.controller_of(pod)
            if owner and owner["kind"] == JOB.kind and owner["name"] == key.name:
                await self._uncover(pod)

    async def _uncover(self, pod: Object) -> None:
        finalizers = pod["metadata"].get("finalizers") or []
        if plan.FINALIZER not in finalizers:
            return
        kept = [entry for entry in finalizers if entry != plan.FINALIZER]
        version = pod["metadata"]["resourceVersion"]
        patch = {"metadata": {"finalizers": kept, "resourceVersion": version}}
        await self._writer.patch(POD, pod, patch)

    async def _delete(self, job: Object, pod: Object) -> None:
        if await self._writer.delete(POD, pod):
            text = f"Deleted pod: {meta.name(pod)}"
            await self._recorder.record(job, "Normal", "SuccessfulDelete", text)

    async def _create(self, job: Object, wanted: tuple[int | None, ...]) -> ApiError | None:
        results = await asyncio.gather(
            *(self._writer.create(POD, _pod(job, index)) for index in wanted),
            return_exceptions=True,
        )
        failure: ApiError | None = None
        for result in results:
            if isinstance(result, ApiError):
                failure = result
            elif isinstance(result, BaseException):
                raise result
            else:
                text = f"Created pod: {meta.name(result)}"
                await self._recorder.record(job, "Normal", "SuccessfulCreate", text)
        if failure:
            text = f"Error creating: {failure.message}"
            await self._recorder.record(job, "Warning", "FailedCreate", text)
        return failure

    async def _tell(self, job: Object, step: plan.Plan) -> None:
        if step.verdict is None:
            return
        if step.verdict.type == "Complete":
            await self._recorder.record(job, "Normal", "Completed", "Job completed")
        else:
            verdict = step.verdict
            await self._recorder.record(job, "Warning", verdict.reason, verdict.message)


def _pod(job: Object, index: int | None) -> Object:
    pod = podrules.from_template(job["spec"]["template"], job)
    metadata = pod["metadata"]
    metadata["labels"] |= {
        "batch.kubernetes.io/controller-uid": meta.uid(job),
        "controller-uid": meta.uid(job),
        "batch.kubernetes.io/job-name": meta.name(job),
        "job-name": meta.name(job),
    }
    metadata["finalizers"] = [*metadata.get("finalizers", ()), plan.FINALIZER]
    if index is not None:
        indexes.stamp(pod, meta.name(job), index)
    return pod
