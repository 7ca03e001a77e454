"""ReplicaSets: observe pods, make or end some, write the status."""

from __future__ import annotations

import asyncio

from bessemer.base.clock import Clock
from bessemer.cluster.controllers import claims, pods
from bessemer.cluster.controllers.replicaset import plan
from bessemer.cluster.controllers.writer import Writer, together
from bessemer.control.events import EventRecorder
from bessemer.control.reconcile import DONE, Key, Result
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.pod import POD
from bessemer.kinds.replicaset import REPLICA_SET
from bessemer.kube.errors import ApiError, is_terminating
from bessemer.kube.informer import Informers


class ReplicaSetReconciler:
    """Makes a ReplicaSet's pods as many as it says."""

    def __init__(
        self, writer: Writer, informers: Informers, recorder: EventRecorder, clock: Clock
    ) -> None:
        self._writer = writer
        self._sets = informers.of(REPLICA_SET)
        self._pods = informers.of(POD)
        self._recorder = recorder
        self._clock = clock

    async def reconcile(self, key: Key) -> Result:
        """One pass: claim, scale, status."""
        replicaset = self._sets.get(key.name, key.namespace)
        if replicaset is None:
            return DONE
        await self._claim(replicaset)
        failure = await self._scale(replicaset)
        # The writes above are in the cache by now: the status tells what is, not what was.
        owned = self._owned(replicaset)
        now = self._clock.now()
        status = plan.status(replicaset, owned, now, failure)
        await self._writer.update_status(REPLICA_SET, replicaset, status)
        return Result(plan.look_again_after(replicaset, owned, now) or (5.0 if failure else None))

    def _owned(self, replicaset: Object) -> list[Object]:
        return claims.controlled(replicaset, self._pods.by_owner(meta.uid(replicaset)))

    async def _claim(self, replicaset: Object) -> None:
        claim = claims.claim(
            replicaset,
            self._pods.by_owner(meta.uid(replicaset)),
            self._pods.list(meta.namespace(replicaset)),
        )
        for pod in claim.adopt:
            if not pods.is_finished(pod):
                await self._writer.patch(POD, pod, claims.adoption(pod, replicaset))
        for pod in claim.release:
            await self._writer.patch(POD, pod, claims.release(pod, replicaset))

    async def _scale(self, replicaset: Object) -> str:
        """Make or end pods; the answer is why that failed, or nothing."""
        scale = plan.scale(replicaset, self._owned(replicaset))
        if scale.delete:
            await together(self._delete(replicaset, pod) for pod in scale.delete)
        for size in pods.slow_start(scale.create):
            results = await asyncio.gather(
                *(self._create(replicaset) for _ in range(size)), return_exceptions=True
            )
            for result in results:
                if isinstance(result, ApiError):
                    if is_terminating(result):
                        return ""  # the set goes too: nobody has to be told
                    return await self._tell_failure(replicaset, result)
                if isinstance(result, BaseException):
                    raise result
        return ""

    async def _create(self, replicaset: Object) -> None:
        pod = await self._writer.create(
            POD, pods.from_template(replicaset["spec"]["template"], replicaset)
        )
        await self._recorder.record(
            replicaset, "Normal", "SuccessfulCreate", f"Created pod: {meta.name(pod)}"
        )

    async def _delete(self, replicaset: Object, pod: Object) -> None:
        if await self._writer.delete(POD, pod):
            message = f"Deleted pod: {meta.name(pod)}"
            await self._recorder.record(replicaset, "Normal", "SuccessfulDelete", message)

    async def _tell_failure(self, replicaset: Object, error: ApiError) -> str:
        message = f"Error creating: {error.message}"
        await self._recorder.record(replicaset, "Warning", "FailedCreate", message)
        return error.message
