"""EndpointSlices of Services with a selector; those made by hand are left alone."""

from __future__ import annotations

from collections.abc import Iterable

from bessemer.cluster.controllers.endpoints import plan
from bessemer.control.reconcile import DONE, Key, Result
from bessemer.control.writer import Writer
from bessemer.kinds import meta
from bessemer.kinds.endpointslice import ENDPOINT_SLICE, SERVICE_NAME
from bessemer.kinds.kind import Object
from bessemer.kinds.pod import POD
from bessemer.kinds.service import SERVICE
from bessemer.kube.client import EventType
from bessemer.kube.informer import Informers


class EndpointsReconciler:
    """Keeps a Service's slices as its pods are."""

    def __init__(self, writer: Writer, informers: Informers) -> None:
        self._writer = writer
        self._services = informers.of(SERVICE)
        self._pods = informers.of(POD)
        self._slices = informers.of(ENDPOINT_SLICE)
        # Pod uid -> the labels that it had before its last change, and those that it has.
        self._faces: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
        self._pods.subscribe(self._remember)

    async def reconcile(self, key: Key) -> Result:
        """One pass: make, change, delete slices."""
        service = self._services.get(key.name, key.namespace)
        owned = {
            meta.name(entry): entry
            for entry in self._slices.list(key.namespace)
            if meta.labels(entry).get(SERVICE_NAME) == key.name
            and meta.labels(entry).get(plan.MANAGED_BY) == plan.MANAGER
        }
        wanted = {meta.name(entry): entry for entry in self._wanted(service)}
        for name, entry in wanted.items():
            await self._put(owned.get(name), entry)
        for name, entry in owned.items():
            if name not in wanted:
                await self._writer.delete(ENDPOINT_SLICE, entry)
        return DONE

    def _wanted(self, service: Object | None) -> list[Object]:
        if service is None or meta.is_deleting(service) or not plan.find_selector(service):
            return []
        pods = self._pods.list(meta.namespace(service))
        return plan.slices(service, [pod for pod in pods if plan.is_selected(service, pod)])

    async def _put(self, stored: Object | None, wanted: Object) -> None:
        if stored is None:
            await self._writer.create(ENDPOINT_SLICE, wanted)
            return
        same = all(stored.get(part) == wanted[part] for part in ("endpoints", "ports"))
        if not same or meta.labels(stored) != meta.labels(wanted):
            metadata = {**stored["metadata"], "labels": meta.labels(wanted)}
            await self._writer.update(ENDPOINT_SLICE, {**wanted, "metadata": metadata})

    def services_of(self, pod: Object) -> Iterable[Key]:
        """The Services that select the pod, or did before its labels changed."""
        former, _ = self._faces.get(meta.uid(pod), ({}, {}))
        faces = [pod]
        if former != meta.labels(pod):
            faces.append({**pod, "metadata": {**pod["metadata"], "labels": former}})
        for service in self._services.list(meta.namespace(pod)):
            if any(plan.is_selected(service, face) for face in faces):
                yield Key(meta.namespace(service), meta.name(service))

    def _remember(self, event: EventType, pod: Object) -> None:
        """Kept until the pod is gone; called before ``services_of``."""
        if event is EventType.DELETED:
            self._faces.pop(meta.uid(pod), None)
        else:
            _, former = self._faces.get(meta.uid(pod), ({}, {}))
            self._faces[meta.uid(pod)] = former, meta.labels(pod)
