"""Deployments: observe ReplicaSets, make or scale some, write the status."""

from __future__ import annotations

from bessemer.base.clock import Clock
from bessemer.cluster.controllers.deployment import plan, status
from bessemer.control import adoption
from bessemer.control.events import EventRecorder
from bessemer.control.reconcile import DONE, Key, Result
from bessemer.control.writer import Writer
from bessemer.kinds import meta
from bessemer.kinds.deployment import DEPLOYMENT
from bessemer.kinds.kind import Object
from bessemer.kinds.pod import POD
from bessemer.kinds.replicaset import REPLICA_SET
from bessemer.kube.errors import AlreadyExists, ApiError, is_terminating
from bessemer.kube.informer import Informers


class DeploymentReconciler:
    """Rolls a Deployment's template out."""

    def __init__(
        self, writer: Writer, informers: Informers, recorder: EventRecorder, clock: Clock
    ) -> None:
        self._writer = writer
        self._deployments = informers.of(DEPLOYMENT)
        self._sets = informers.of(REPLICA_SET)
        self._pods = informers.of(POD)
        self._recorder = recorder
        self._clock = clock

    async def reconcile(self, key: Key) -> Result:
        """One pass: claim, make the new ReplicaSet, scale, tidy, status."""
        deployment = self._deployments.get(key.name, key.namespace)
        if deployment is None:
            return DONE
        if not meta.is_deleting(deployment):
            await self._claim(deployment)
            deployment = await self._roll(deployment)
        observed = self._observe(deployment)
        outcome = status.make(observed, self._clock.now())
        await self._writer.update_status(DEPLOYMENT, deployment, outcome.status)
        return Result(outcome.look_again_after)

    def _observe(self, deployment: Object) -> plan.Observed:
        sets = adoption.controlled(deployment, self._sets.by_owner(meta.uid(deployment)))
        pods = {
            meta.uid(entry): adoption.controlled(entry, self._pods.by_owner(meta.uid(entry)))
            for entry in sets
        }
        return plan.observe(deployment, sets, pods)

    async def _claim(self, deployment: Object) -> None:
        claim = adoption.claim(
            deployment,
            self._sets.by_owner(meta.uid(deployment)),
            self._sets.list(meta.namespace(deployment)),
        )
        for entry in claim.adopt:
            await self._writer.patch(REPLICA_SET, entry, adoption.adopt(entry, deployment))
        for entry in claim.release:
            await self._writer.patch(REPLICA_SET, entry, adoption.release(entry, deployment))

    async def _roll(self, deployment: Object) -> Object:
        observed = self._observe(deployment)
        if plan.may_create(observed):
            deployment = await self._create_set(observed)
            observed = self._observe(deployment)
        deployment = await self._number(observed)
        observed = self._observe(deployment)
        for name, size in plan.sizes(observed).items():
            await self._resize(observed, name, size)
        for entry in plan.outdated(self._observe(deployment)):
            await self._writer.delete(REPLICA_SET, entry)
        return deployment

    async def _create_set(self, observed: plan.Observed) -> Object:
        deployment = observed.deployment
        wanted = plan.new_replicaset(observed)
        try:
            made = await self._writer.create(REPLICA_SET, wanted)
        except AlreadyExists:  # another's, of the same hash: hash with another salt
            collisions = {"collisionCount": plan.counted(deployment, "collisionCount") + 1}
            bumped = {**(deployment.get("status") or {}), **collisions}
            return await self._writer.update_status(DEPLOYMENT, deployment, bumped)
        except ApiError as error:
            if is_terminating(error):
                return deployment  # it goes too: nobody has to be told
            message = f'Failed to create new replica set "{meta.name(wanted)}": {error.message}'
            await self._recorder.record(deployment, "Warning", "ReplicaSetCreateError", message)
            told = status.not_created(deployment, message, self._clock.now())
            await self._writer.update_status(DEPLOYMENT, deployment, told)
            raise
        if plan.replicas(made):
            await self._tell_scaled(deployment, meta.name(made), 0, plan.replicas(made))
        return deployment

    async def _number(self, observed: plan.Observed) -> Object:
        """Give the current ReplicaSet and the Deployment the rollout's number."""
        deployment, current = observed.deployment, observed.current
        if current is None:
            return deployment
        number = plan.next_revision(observed)
        if patch := plan.renewal(observed, current):
            await self._writer.patch(REPLICA_SET, current, patch)
        if plan.revision(deployment) != number:
            numbered = {"metadata": {"annotations": {plan.REVISION: str(number)}}}
            return await self._writer.patch(DEPLOYMENT, deployment, numbered) or deployment
        return deployment

    async def _resize(self, observed: plan.Observed, name: str, size: int) -> None:
        deployment = observed.deployment
        entry = next(e for e in observed.sets if meta.name(e) == name)
        limits = plan.limits(deployment)
        total = plan.replicas(deployment)
        notes = {plan.DESIRED: str(total), plan.MAX_REPLICAS: str(total + limits.surge)}
        patch = {"metadata": {"annotations": notes}, "spec": {"replicas": size}}
        if await self._writer.patch(REPLICA_SET, entry, patch) is None:
            return
        if size != plan.replicas(entry):  # else only its notes were old
            await self._tell_scaled(deployment, name, plan.replicas(entry), size)

    async def _tell_scaled(self, deployment: Object, name: str, before: int, after: int) -> None:
        way = "up" if after > before else "down"
        message = f"Scaled {way} replica set {name} from {before} to {after}"
        await self._recorder.record(deployment, "Normal", "ScalingReplicaSet", message)
