"""Has definitions served, says so in their status, and empties those that go.

Source: k8s.io/apiextensions-apiserver pkg/controller/{status,establish,finalizer}.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from bessemer.base import logs
from bessemer.base.clock import Clock
from bessemer.cluster.extensions import definitions
from bessemer.control.controller import Controller
from bessemer.control.reconcile import DONE, Key, Result
from bessemer.control.sources import Source, own_key
from bessemer.kinds import meta
from bessemer.kinds.customresourcedefinition import CLEANUP, CUSTOM_RESOURCE_DEFINITION
from bessemer.kinds.kind import Kind, Object
from bessemer.kube.client import Client
from bessemer.kube.errors import NotFound
from bessemer.kube.informer import Informers

_log = logs.get(__name__)

_LOOK_AGAIN = 1.0  # seconds: an object with a finalizer goes in its own time


@dataclass(frozen=True)
class Registry:
    """Who serves kinds.

    Attributes:
        learn: serves the versions of a resource, the stored one first, instead of those that it
            served before.
        forget: serves the resource no more, and ends its watches.
        taken: resources that no definition may have: the cluster's own.
    """

    learn: Callable[[list[Kind]], None]
    forget: Callable[[str], None]
    taken: Collection[str] = ()


class DefinitionReconciler:
    """One definition."""

    def __init__(
        self, client: Client, informers: Informers, clock: Clock, registry: Registry
    ) -> None:
        self._client = client
        self._cache = informers.of(CUSTOM_RESOURCE_DEFINITION)
        self._clock = clock
        self._registry = registry

    def controller(self) -> Controller:
        """It, ready to run."""
        source = Source(self._cache, own_key)
        return Controller("definitions", self, [source], self._clock)

    async def reconcile(self, key: Key) -> Result:
        """Make what is served, and the status, what the definition says."""
        definition = self._cache.get(key.name)
        if definition is None:
            return DONE
        if meta.is_deleting(definition):
            return await self._empty(definition)
        finalizers = definition["metadata"].get("finalizers") or []
        if CLEANUP not in finalizers:
            metadata = {**definition["metadata"], "finalizers": [*finalizers, CLEANUP]}
            await self._client.update(
                CUSTOM_RESOURCE_DEFINITION, {**definition, "metadata": metadata}
            )
            return DONE  # the change comes back
        conflict = self._find_conflict(definition)
        if not conflict:
            if kinds := definitions.make_kinds(definition):
                self._registry.learn(kinds)
            else:
                self._registry.forget(_resource(definition))
        status = make_status(definition, conflict, self._clock)
        if status != definition.get("status"):
            await self._client.update(
                CUSTOM_RESOURCE_DEFINITION, {**definition, "status": status}, subresource="status"
            )
        return DONE

    def _find_conflict(self, definition: Object) -> str:
        if (resource := _resource(definition)) in self._registry.taken:
            return f'"{resource}" is already in use'
        accepted = [one for one in self._cache.list() if is_accepted(one)]
        return definitions.find_conflict(definition, accepted)

    async def _empty(self, definition: Object) -> Result:
        finalizers = definition["metadata"].get("finalizers") or []
        if CLEANUP not in finalizers:
            return DONE
        if is_accepted(definition):
            kinds = definitions.make_kinds(definition)
            if kinds and not await self._delete_all(kinds[0]):
                return Result(_LOOK_AGAIN)
            self._registry.forget(_resource(definition))
        left = [name for name in finalizers if name != CLEANUP]
        metadata = {**definition["metadata"], "finalizers": left}
        await self._client.update(CUSTOM_RESOURCE_DEFINITION, {**definition, "metadata": metadata})
        return DONE

    async def _delete_all(self, kind: Kind) -> bool:
        """Ask for the end of all objects; whether none is left."""
        for obj in (await self._client.list(kind)).items:
            if not meta.is_deleting(obj):
                try:
                    await self._client.delete(kind, meta.name(obj), meta.namespace(obj))
                except NotFound:
                    continue
        return not (await self._client.list(kind)).items


def _named(definition: Object) -> dict[str, object]:
    return logs.fields(definition=meta.name(definition))


def _resource(definition: Object) -> str:
    return f"{definition['spec']['names']['plural']}.{definition['spec']['group']}"


def is_accepted(definition: Object) -> bool:
    """Whether its names are its own: then its objects are served."""
    return (meta.condition(definition, "NamesAccepted") or {}).get("status") == "True"


def make_status(definition: Object, conflict: str, clock: Clock) -> Object:
    """The status: names, conditions, and the versions in which objects may be stored."""
    status: Object = dict(definition.get("status") or {})
    stored = next(v["name"] for v in definition["spec"]["versions"] if v.get("storage"))
    known = list(status.get("storedVersions") or ())
    status["storedVersions"] = known if stored in known else [*known, stored]
    if conflict:
        accepted = ("False", "Conflict", conflict)
        established = ("False", "NotAccepted", "not all names are accepted")
    else:
        accepted = ("True", "NoConflicts", "no conflicts found")
        established = ("True", "InitialNamesAccepted", "the initial names have been accepted")
        status["acceptedNames"] = definition["spec"]["names"]
    wanted = [
        dict(zip(("type", "status", "reason", "message"), (type_, *told), strict=True))
        for type_, told in (("NamesAccepted", accepted), ("Established", established))
    ]
    current = status.get("conditions") or ()
    status["conditions"] = meta.merge_conditions(current, wanted, clock.now())
    return status


def serve_known(found: Iterable[Object], registry: Registry) -> None:
    """Before anything is served: the kinds that were accepted in an earlier life."""
    for definition in found:
        if not is_accepted(definition):
            continue
        try:
            kinds = definitions.make_kinds(definition)
        except Exception as error:  # noqa: BLE001 - one that an older program took must stop no start
            _log.exception("definition not served", exc_info=error, extra=_named(definition))
            continue
        if kinds:
            registry.learn(kinds)
