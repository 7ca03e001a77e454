"""ReplicaSets: observe pods, make or end some, write the status."""

from __future__ import annotations

from functools import partial

from bessemer.base.clock import Clock
from bessemer.cluster.controllers.replicaset import plan
from bessemer.control import adoption, pods
from bessemer.control.events import EventRecorder
from bessemer.control.reconcile import DONE, Key, Result
from bessemer.control.writer import Writer, slow_start, together
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
        return adoption.controlled(replicaset, self._pods.by_owner(meta.uid(replicaset)))

    async def _claim(self, replicaset: Object) -> None:
        claim = adoption.claim(
            replicaset,
            self._pods.by_owner(meta.uid(replicaset)),
            self._pods.list(meta.namespace(replicaset)),
        )
        for pod in claim.adopt:
            if not pods.is_finished(pod):
                await self._writer.patch(POD, pod, adoption.adopt(pod, replicaset))
        for pod in claim.release:
            await self._writer.patch(POD, pod, adoption.release(pod, replicaset))

    async def _scale(self, replicaset: Object) -> str:
        """Make or end pods; the answer is why that failed, or nothing."""
        scale = plan.scale(replicaset, self._owned(replicaset))
        if scale.delete:
            await together(self._delete(replicaset, pod) for pod in scale.delete)
        refused = await slow_start([partial(self._create, replicaset)] * scale.create)
        if refused is None or is_terminating(refused):
            return ""  # if the set goes too, nobody has to be told
        return await self._tell_failure(replicaset, refused)

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
