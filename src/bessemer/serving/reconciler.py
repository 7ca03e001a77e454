"""Observes an InferenceService's world, plans, acts, writes its status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bessemer.artifacts.store import ArtifactStore
from bessemer.base.clock import Clock, format_micro_time
from bessemer.control.controller import Controller
from bessemer.control.events import EventRecorder
from bessemer.control.reconcile import DONE, Key, Result
from bessemer.control.sources import Source, own_key
from bessemer.kinds import meta
from bessemer.kinds.deployment import DEPLOYMENT
from bessemer.kinds.endpointslice import ENDPOINT_SLICE, SERVICE_NAME
from bessemer.kinds.httproute import HTTP_ROUTE
from bessemer.kinds.inferenceservice import INFERENCE_SERVICE, is_stopped
from bessemer.kinds.kind import Kind, Object
from bessemer.kinds.namespace import SYSTEM_NAMESPACE
from bessemer.kinds.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIM
from bessemer.kinds.pod import POD
from bessemer.kinds.service import SERVICE
from bessemer.kinds.servingruntime import SERVING_RUNTIME
from bessemer.kube.client import Client, Selection
from bessemer.kube.errors import AlreadyExists, BadRequest, Invalid, NotFound
from bessemer.kube.informer import Informer, Informers
from bessemer.serving import manifests, observation, runtimes, storage
from bessemer.serving.errors import Unservable
from bessemer.serving.manifests import Address
from bessemer.serving.plan import (
    Action,
    Create,
    Declared,
    MarkIdle,
    Observed,
    Plan,
    Remove,
    Revision,
    Scale,
    plan,
)
from bessemer.serving.status import NAME_TAKEN, StatusFacts, make_status


@dataclass(frozen=True)
class Caches:
    """The watched kinds."""

    services: Informer
    isvcs: Informer
    runtimes: Informer
    deployments: Informer
    slices: Informer
    pods: Informer
    routes: Informer
    claims: Informer

    @classmethod
    def of(cls, informers: Informers) -> Caches:
        """The shared informers of those kinds; pods only of InferenceServices."""
        ours = Selection(labels=manifests.ISVC_LABEL)
        return cls(
            services=informers.of(SERVICE, ours),
            isvcs=informers.of(INFERENCE_SERVICE),
            runtimes=informers.of(SERVING_RUNTIME),
            deployments=informers.of(DEPLOYMENT, ours),
            slices=informers.of(ENDPOINT_SLICE),
            pods=informers.of(POD, ours),
            routes=informers.of(HTTP_ROUTE),
            claims=informers.of(PERSISTENT_VOLUME_CLAIM),
        )


class InferenceServiceReconciler:
    """Makes revisions, moves traffic, tells the user."""

    def __init__(
        self,
        client: Client,
        caches: Caches,
        clock: Clock,
        address: Address,
        artifacts: ArtifactStore,
    ) -> None:
        self._client = client
        self._caches = caches
        self._clock = clock
        self._address = address
        self._artifacts = artifacts
        self._events = EventRecorder(client, "inferenceservice-controller", clock)

    async def reconcile(self, key: Key) -> Result:
        """One step closer to what the InferenceService declares."""
        isvc = self._caches.isvcs.get(key.name, key.namespace)
        if isvc is None or meta.is_deleting(isvc):
            return DONE  # what it owns is collected by its owner references
        stopped = is_stopped(isvc)
        refusal, revision_parts = None, None
        try:
            if not stopped:
                revision_parts = await self._resolve_spec(isvc)
        except Unservable as error:
            refusal = error
        revisions = self._observe(isvc)
        observed, now = self._observed(isvc, revisions), self._clock.now()
        step = plan(_declared(isvc, servable=refusal is None), observed, now)
        try:
            await self._act_all(isvc, step, revision_parts)
        except Unservable as error:
            refusal = error
            step = plan(_declared(isvc, servable=False), observed, now)
            await self._act_all(isvc, step, None)
        weights = _route_weights(step, revisions)
        if stopped:
            await self._remove_routes(isvc)
        elif not any(isinstance(action, Create) for action in step.actions):
            await self._write_routes(isvc, weights)
        await self._keep_services(isvc, weights)
        await self._keep_entry(isvc, {} if stopped else step.weights)
        facts = StatusFacts(
            plan=step,
            revisions={entry.name: entry for entry in revisions},
            url=self._address.of(isvc),
            routed=self._is_routed(isvc, weights),
            runtime=meta.name(revision_parts.runtime) if revision_parts else "",
            refusal=refusal,
            stopped=stopped,
            taken_revision=self._find_taken(self._caches.deployments, _made_by(step, isvc), isvc),
            taken_route=self._find_taken(self._caches.routes, manifests.route_names(isvc), isvc),
        )
        await self._write_status(isvc, facts)
        return Result(step.look_again.total_seconds()) if step.look_again else DONE

    async def _resolve_spec(self, isvc: Object) -> _RevisionParts:
        """What a revision of the declared predictor is made of. Raises Unservable."""
        namespace = meta.namespace(isvc)
        model = isvc["spec"]["predictor"]["model"]
        location = storage.locate(namespace, model["storageUri"], self._artifacts)
        known = [
            *self._caches.runtimes.list(namespace),
            *self._caches.runtimes.list(SYSTEM_NAMESPACE),
        ]
        unique = {(meta.namespace(entry), meta.name(entry)): entry for entry in known}
        runtime = runtimes.select(model, unique.values(), namespace)
        try:
            await self._client.get(PERSISTENT_VOLUME_CLAIM, location.claim, namespace)
        except NotFound as error:
            raise Unservable(
                "ClaimNotFound",
                f"storageUri {model['storageUri']!r}: PersistentVolumeClaim {location.claim!r} "
                f"does not exist in namespace {namespace}",
            ) from error
        return _RevisionParts(runtime, location)

    def _observe(self, isvc: Object) -> tuple[Revision, ...]:
        namespace = meta.namespace(isvc)
        revisions = []
        for deployment in self._caches.deployments.by_owner(meta.uid(isvc)):
            if meta.is_deleting(deployment):
                continue
            name = meta.name(deployment)
            slices = [
                entry
                for entry in self._caches.slices.list(namespace)
                if meta.labels(entry).get(SERVICE_NAME) == name
            ]
            pods = [
                pod
                for pod in self._caches.pods.list(namespace)
                if meta.labels(pod).get(manifests.REVISION_LABEL) == name
            ]
            revisions.append(observation.read_revision(deployment, slices, pods))
        return tuple(sorted(revisions, key=lambda entry: entry.number))

    def _observed(self, isvc: Object, revisions: tuple[Revision, ...]) -> Observed:
        component: Mapping[str, Any] = meta.dig(isvc, "status.components.predictor") or {}
        newest = component.get("latestCreatedRevision", "")
        number = newest.rpartition("-")[2]
        routes = [
            self._caches.routes.get(name, meta.namespace(isvc))
            for name in manifests.route_names(isvc)
        ]
        weights = [_read_weights(route, isvc) for route in routes]
        return Observed(
            revisions=revisions,
            weights=weights[0],
            rolled_out=component.get("latestRolledoutRevision", ""),
            previous=component.get("previousRolledoutRevision", ""),
            last_number=int(number) if number.isdigit() else 0,
            routed=all(each == weights[0] for each in weights)
            and all(route is not None and _is_programmed(route) for route in routes),
        )

    async def _act_all(self, isvc: Object, step: Plan, parts: _RevisionParts | None) -> None:
        for action in step.actions:
            await self._act(isvc, action, parts)

    async def _act(self, isvc: Object, action: Action, parts: _RevisionParts | None) -> None:
        namespace = meta.namespace(isvc)
        match action:
            case Create(number, _):
                if parts is not None:
                    await self._create(isvc, number, parts)
            case Scale(name, replicas):
                await self._client.patch(
                    DEPLOYMENT, name, namespace, {"spec": {"replicas": replicas}}
                )
            case MarkIdle(name, since):
                # With microseconds: a drain is a few seconds.
                note = format_micro_time(since) if since else None
                note_patch = {"metadata": {"annotations": {manifests.IDLE_SINCE: note}}}
                await self._client.patch(DEPLOYMENT, name, namespace, note_patch)
            case Remove(name):
                # The Deployment last: as long as it is there, the rest is known to be left.
                for kind in (SERVICE, DEPLOYMENT):
                    await self._remove(kind, name, namespace)

    async def _create(self, isvc: Object, number: int, parts: _RevisionParts) -> None:
        name = manifests.revision_name(isvc, number)
        values = runtimes.values_of(isvc) | {
            "ModelDir": parts.location.model_path,
            "Revision": name,
        }
        model = isvc["spec"]["predictor"]["model"]
        container = runtimes.make_container(parts.runtime, model, values)
        # The Service first: its endpoints are there as soon as a pod is ready.
        await self._make(SERVICE, manifests.make_service(isvc, name))
        deployment = manifests.make_deployment(
            isvc, number, container, parts.location, parts.runtime
        )
        try:
            made = await self._make(DEPLOYMENT, deployment)
        except (BadRequest, Invalid) as error:
            # What the predictor asks of its pods is checked only here.
            raise Unservable("InvalidPredictorSpec", error.message) from error
        if made:
            await self._events.record(
                isvc, "Normal", "RevisionCreated", f"Created revision {meta.name(deployment)}"
            )

    async def _make(self, kind: Kind, obj: Object) -> bool:
        try:
            await self._client.create(kind, obj)
        except AlreadyExists:
            return False  # an earlier try made it, or it is another's, which the status tells
        return True

    async def _keep_services(self, isvc: Object, revisions: Iterable[str]) -> None:
        """Make those again that somebody deleted, or that went with one of the same name."""
        for name in revisions:
            if self._caches.services.get(name, meta.namespace(isvc)) is None:
                await self._make(SERVICE, manifests.make_service(isvc, name))

    async def _keep_entry(self, isvc: Object, weights: Mapping[str, int]) -> None:
        """Have the Service of the predictor lead to the revision that gets the most traffic."""
        name, namespace = manifests.entry_name(isvc), meta.namespace(isvc)
        known = self._caches.services.get(name, namespace)
        if known is not None and not _is_controlled_by(known, isvc):
            return  # that is for its owner: requests come by the gateway all the same
        busiest = max(weights, key=lambda revision: (weights[revision], revision), default="")
        if not weights.get(busiest):
            if known is not None and is_stopped(isvc):
                await self._remove(SERVICE, name, namespace)
            return
        wanted = manifests.make_entry(isvc, busiest)
        if known is None:
            await self._make(SERVICE, wanted)
        elif known["spec"]["selector"] != wanted["spec"]["selector"]:
            spec = {**known["spec"], "selector": wanted["spec"]["selector"]}
            await self._client.update(SERVICE, {**known, "spec": spec})

    async def _remove(self, kind: Kind, name: str, namespace: str) -> None:
        try:
            await self._client.delete(kind, name, namespace)
        except NotFound:
            return

    async def _write_routes(self, isvc: Object, weights: Mapping[str, int]) -> None:
        if not weights:
            return
        for wanted in manifests.make_routes(isvc, weights, self._address):
            known = self._caches.routes.get(meta.name(wanted), meta.namespace(wanted))
            if known is None:
                await self._make(HTTP_ROUTE, wanted)
            elif _is_controlled_by(known, isvc) and known["spec"] != wanted["spec"]:
                changed = {**known, "spec": wanted["spec"]}
                await self._client.update(HTTP_ROUTE, changed)

    async def _remove_routes(self, isvc: Object) -> None:
        for name in manifests.route_names(isvc):
            known = self._caches.routes.get(name, meta.namespace(isvc))
            if known is not None and _is_controlled_by(known, isvc):
                await self._remove(HTTP_ROUTE, name, meta.namespace(isvc))

    def _find_taken(self, cache: Informer, names: Iterable[str], isvc: Object) -> str:
        """Which of those names another's object has; empty: none."""
        for name in names:
            known = cache.get(name, meta.namespace(isvc))
            if known is not None and not _is_controlled_by(known, isvc):
                return f"{cache.kind.kind} {name}"
        return ""

    def _is_routed(self, isvc: Object, weights: Mapping[str, int]) -> bool:
        """Whether the gateway says that it follows the routes with these weights."""
        for wanted in manifests.make_routes(isvc, weights, self._address):
            route = self._caches.routes.get(meta.name(wanted), meta.namespace(wanted))
            if route is None or route["spec"] != wanted["spec"]:
                return False
            if not _is_programmed(route):
                return False
        return True

    async def _write_status(self, isvc: Object, facts: StatusFacts) -> None:
        status = make_status(isvc, facts, self._clock.now())
        if status == isvc.get("status"):
            return
        updated = {**isvc, "status": status}
        await self._client.update(INFERENCE_SERVICE, updated, subresource="status")
        await self._tell_changes(isvc, updated)

    async def _tell_changes(self, old: Object, new: Object) -> None:
        before, after = meta.condition(old, "Ready") or {}, meta.condition(new, "Ready") or {}
        if (before.get("status"), before.get("reason")) == (
            after.get("status"),
            after.get("reason"),
        ):
            return
        if after.get("status") == "True":
            await self._events.record(new, "Normal", "Ready", "The newest revision takes requests")
        elif is_stopped(new):
            await self._events.record(new, "Normal", after["reason"], after.get("message", ""))
        elif after.get("status") == "False" or after.get("reason") == NAME_TAKEN:
            await self._events.record(new, "Warning", after["reason"], after.get("message", ""))


@dataclass(frozen=True)
class _RevisionParts:
    runtime: Object
    location: storage.Location


def _declared(isvc: Object, *, servable: bool) -> Declared:
    predictor = isvc["spec"]["predictor"]
    return Declared(
        digest=manifests.digest_of(isvc) if servable else None,
        canary=predictor.get("canaryTrafficPercent"),
        replicas=predictor.get("minReplicas") or 1,
        stopped=is_stopped(isvc),
    )


def _route_weights(step: Plan, revisions: tuple[Revision, ...]) -> dict[str, int]:
    """With every revision that stays: the gateway must know it long before it gets traffic."""
    gone = {action.name for action in step.actions if isinstance(action, Remove)}
    return {entry.name: 0 for entry in revisions if entry.name not in gone} | dict(step.weights)


def _read_weights(route: Object | None, isvc: Object) -> dict[str, int]:
    if route is None or not _is_controlled_by(route, isvc):
        return {}
    return {
        backend["name"]: backend.get("weight", 1)
        for rule in meta.dig(route, "spec.rules") or ()
        for backend in rule.get("backendRefs") or ()
    }


def _made_by(step: Plan, isvc: Object) -> list[str]:
    """The names of the revisions that the plan makes."""
    return [
        manifests.revision_name(isvc, action.number)
        for action in step.actions
        if isinstance(action, Create)
    ]


def _is_controlled_by(obj: Object, isvc: Object) -> bool:
    owner = meta.controller_of(obj)
    return owner is not None and owner["uid"] == meta.uid(isvc)


def _is_programmed(route: Object) -> bool:
    generation = route["metadata"].get("generation", 1)
    return any(
        condition["type"] == "Programmed"
        and condition["status"] == "True"
        and condition.get("observedGeneration") == generation
        for parent in meta.dig(route, "status.parents") or ()
        for condition in parent.get("conditions") or ()
    )


def make_controller(
    client: Client,
    informers: Informers,
    clock: Clock,
    address: Address,
    artifacts: ArtifactStore,
) -> Controller:
    """The serving controller, ready to run.

    ``address`` is where the gateway answers; ``artifacts`` tells which claim of a namespace holds
    a model.
    """
    caches = Caches.of(informers)
    reconciler = InferenceServiceReconciler(client, caches, clock, address, artifacts)

    def owner(obj: Object) -> list[Key]:
        name = meta.labels(obj).get(manifests.ISVC_LABEL)
        return [Key(meta.namespace(obj), name)] if name else []

    def of_service(obj: Object) -> list[Key]:
        name = meta.labels(obj).get(SERVICE_NAME, "")
        service = caches.services.get(name, meta.namespace(obj))
        return owner(service) if service is not None else []

    def of_route(route: Object) -> list[Key]:
        # By its name: a stranger's that goes makes room for ours.
        name = meta.name(route)
        return [Key(meta.namespace(route), each) for each in {name, name.removesuffix("-host")}]

    def of_namespace(obj: Object) -> list[Key]:
        """Whoever may be waiting for a runtime or a claim there."""
        namespace = meta.namespace(obj)
        everywhere = "" if namespace == SYSTEM_NAMESPACE else namespace
        return [
            Key(meta.namespace(isvc), meta.name(isvc)) for isvc in caches.isvcs.list(everywhere)
        ]

    sources = [
        Source(caches.isvcs, own_key),
        Source(caches.deployments, owner),
        Source(caches.routes, of_route),
        Source(caches.pods, owner),
        Source(caches.services, owner),
        Source(caches.slices, of_service),
        Source(caches.runtimes, of_namespace),
        Source(caches.claims, of_namespace),
    ]
    return Controller("inferenceservice", reconciler, sources, clock)
