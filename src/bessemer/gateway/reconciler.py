"""Keeps Envoy up and its configuration true, and tells routes when Envoy follows them."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bessemer.base import logs
from bessemer.base.clock import Clock
from bessemer.base.logs import fields
from bessemer.control.controller import Controller
from bessemer.control.events import EventRecorder
from bessemer.control.reconcile import DONE, Key, Result
from bessemer.control.sources import Source
from bessemer.gateway import envoy, manifests, plan, services
from bessemer.gateway.access import Grants
from bessemer.gateway.bootstrap import GatewayOptions
from bessemer.gateway.plan import InUse, Snapshot
from bessemer.gateway.render import STRIPPED_HEADERS, ServiceListener, find_listeners, render
from bessemer.kinds import meta
from bessemer.kinds.configmap import CONFIG_MAP
from bessemer.kinds.deployment import DEPLOYMENT
from bessemer.kinds.endpointslice import ENDPOINT_SLICE
from bessemer.kinds.httproute import HTTP_ROUTE
from bessemer.kinds.kind import Kind, Object
from bessemer.kinds.namespace import SYSTEM_NAMESPACE
from bessemer.kinds.rbac import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING
from bessemer.kinds.secret import SECRET
from bessemer.kinds.service import SERVICE
from bessemer.kube.client import Client, Selection
from bessemer.kube.errors import AlreadyExists, Conflict, NotFound
from bessemer.kube.informer import Informer, Informers

_log = logs.get(__name__)

KEY = Key("", "gateway")
CONTROLLER_NAME = "bessemer.dev/gateway"
# Envoy follows a change within milliseconds; it is asked this often, and less while it is away.
_ASK_AGAIN_SECONDS = 0.03
_AWAY_SECONDS = 0.5


@dataclass(frozen=True)
class Caches:
    """The informers of the kinds that routes are made of."""

    routes: Informer
    services: Informer
    slices: Informer
    config_maps: Informer
    deployments: Informer
    roles: tuple[Informer, ...]
    bindings: tuple[Informer, ...]

    @classmethod
    def of(cls, informers: Informers) -> Caches:
        """The shared informers of those kinds; of our own objects only ours."""
        ours = Selection(namespace=SYSTEM_NAMESPACE)
        return cls(
            routes=informers.of(HTTP_ROUTE),
            services=informers.of(SERVICE),
            slices=informers.of(ENDPOINT_SLICE),
            config_maps=informers.of(CONFIG_MAP, ours),
            deployments=informers.of(DEPLOYMENT, ours),
            roles=(informers.of(ROLE), informers.of(CLUSTER_ROLE)),
            bindings=(informers.of(ROLE_BINDING), informers.of(CLUSTER_ROLE_BINDING)),
        )


class GatewayReconciler:
    """One key: the gateway as a whole."""

    def __init__(
        self, client: Client, caches: Caches, settings: GatewayOptions, clock: Clock
    ) -> None:
        self._client = client
        self._caches = caches
        self._settings = settings
        self._clock = clock
        self._events = EventRecorder(client, "gateway", clock)
        self._behind_since: float | None = None  # Envoy, on the clock; None: not known to be

    async def reconcile(self, key: Key) -> Result:
        """Write the next configuration, or tell the routes that Envoy follows the last."""
        routes = [route for route in self._caches.routes.list() if not meta.is_deleting(route)]
        wanted = self._render(routes)
        stored = await self._read(CONFIG_MAP, manifests.XDS_CONFIG_MAP)
        files = (stored or {}).get("data") or {}
        current = plan.read_files(files)
        await self._keep_envoy()
        if stored is None or files != plan.write_files(current, STRIPPED_HEADERS):
            # None yet, an earlier version's, or changed by hand: no step leads on from there.
            await self._write_xds(stored, wanted)
            return Result(_ASK_AGAIN_SECONDS)
        coming = plan.step(current, wanted)
        if coming != current and plan.harms_nobody(current, coming):
            await self._write_xds(stored, coming)
            return Result(_ASK_AGAIN_SECONDS)
        in_use = await envoy.ask(self._settings)
        wait = await self._find_wait(in_use, current, stored, moving=coming != current)
        if in_use is None or wait:
            return Result(wait)
        if coming != current:
            await self._write_xds(stored, coming)
            return Result(_ASK_AGAIN_SECONDS)
        for route in routes:
            await self._tell(route)
        await self._tell_services(in_use)
        return DONE

    async def _find_wait(
        self, in_use: InUse | None, current: Snapshot, stored: Object, *, moving: bool
    ) -> float:
        """For how many seconds to leave Envoy alone; 0: what is next may come."""
        behind_since, self._behind_since = self._behind_since, None
        if in_use is None:
            return _AWAY_SECONDS
        if in_use.follows(current):
            return 0.0
        now = self._clock.monotonic()
        if behind_since is None or now - behind_since < self._settings.patience:
            self._behind_since = now if behind_since is None else behind_since
            return _ASK_AGAIN_SECONDS
        # It takes a file as a whole or not at all. What is next may be what cures it.
        await self._events.record(
            stored,
            "Warning",
            "NotFollowed",
            "Envoy goes on with an earlier configuration than this; the log of its pod says why",
        )
        return 0.0 if moving else self._settings.patience

    def _render(self, routes: list[Object]) -> Snapshot:
        known = {
            (meta.namespace(service), meta.name(service)): service
            for service in self._caches.services.list()
            if not meta.is_deleting(service)
        }
        slices = self._caches.slices.list()
        return render(routes, known, slices, self._settings.services, self._find_grants())

    def _find_grants(self) -> Grants | None:
        if self._settings.authentication is None:
            return None
        return Grants(_list(self._caches.roles), _list(self._caches.bindings))

    async def _write_xds(self, stored: Object | None, snapshot: Snapshot) -> None:
        files = plan.write_files(snapshot, STRIPPED_HEADERS)
        if stored is None:
            await self._make(CONFIG_MAP, manifests.make_config_map(files))
        else:
            await self._client.update(CONFIG_MAP, {**stored, "data": files})
        _log.debug("configuration written", extra=fields(version=snapshot.version))

    async def _keep_envoy(self) -> None:
        """Have the bootstrap and the Deployment as they should be."""
        secret = manifests.make_secret(self._settings)
        known = await self._read(SECRET, manifests.BOOTSTRAP_SECRET)
        if known is None:
            await self._make(SECRET, secret)
        elif _text(known) != _text(secret):
            await self._client.update(SECRET, {**known, "data": secret["data"]})
        wanted = manifests.make_deployment(self._settings)
        running = await self._read(DEPLOYMENT, manifests.DEPLOYMENT_NAME)
        if running is None:
            await self._make(DEPLOYMENT, wanted)
        elif manifests.digest_of(running) != manifests.digest_of(wanted):
            await self._client.update(DEPLOYMENT, {**running, "spec": wanted["spec"]})

    async def _read(self, kind: Kind, name: str) -> Object | None:
        # From the API, not a cache: a stale copy would be written back.
        try:
            return await self._client.get(kind, name, SYSTEM_NAMESPACE)
        except NotFound:
            return None

    async def _make(self, kind: Kind, obj: Object) -> None:
        try:
            await self._client.create(kind, obj)
        except AlreadyExists:
            return

    async def _tell_services(self, in_use: InUse) -> None:
        """Write in the status of Services where Envoy could not listen for them."""
        found = self._caches.services.list()
        listeners: Mapping[tuple[str, str], list[ServiceListener]] = defaultdict(list)
        for listener in find_listeners(found, self._settings.services):
            listeners[listener.backend[:2]].append(listener)
        for service in found:
            owned = listeners.get((meta.namespace(service), meta.name(service)), [])
            told = services.judge(service, owned, in_use, self._clock.now())
            if told is None:
                continue
            try:
                await self._client.update(SERVICE, told, subresource="status")
            except (NotFound, Conflict):
                continue  # it changed: it is looked at again for that
            condition = meta.condition(told, services.CONDITION) or {}
            if condition["status"] == "False":
                await self._events.record(
                    told, "Warning", condition["reason"], condition["message"]
                )

    async def _tell(self, route: Object) -> None:
        """Write in the route's status that Envoy follows it."""
        generation = route["metadata"].get("generation", 1)
        conditions = [
            {
                "type": type_,
                "status": "True",
                "reason": type_,
                "message": "the gateway follows the route",
                "observedGeneration": generation,
            }
            for type_ in ("Accepted", "Programmed")
        ]
        parents = meta.dig(route, "status.parents") or []
        old: Object = next(
            (entry for entry in parents if entry.get("controllerName") == CONTROLLER_NAME), {}
        )
        merged = meta.merge_conditions(old.get("conditions") or (), conditions, self._clock.now())
        if old.get("conditions") == merged:
            return
        parent = {
            "controllerName": CONTROLLER_NAME,
            "parentRef": {"kind": "Gateway", "name": "bessemer"},
            "conditions": merged,
        }
        others = [entry for entry in parents if entry.get("controllerName") != CONTROLLER_NAME]
        status = {**(route.get("status") or {}), "parents": [*others, parent]}
        try:
            await self._client.update(
                HTTP_ROUTE, {**route, "status": status}, subresource="status"
            )
        except NotFound:
            return


def _list(informers: Iterable[Informer]) -> list[Object]:
    return [obj for informer in informers for obj in informer.list()]


def _text(secret: Object) -> bytes:
    return base64.b64decode((secret.get("data") or {}).get("envoy.json", ""))


def make_controller(
    client: Client, informers: Informers, clock: Clock, settings: GatewayOptions
) -> Controller:
    """The gateway controller, ready to run."""
    caches = Caches.of(informers)

    def everything(_obj: Object) -> Iterable[Key]:
        return (KEY,)

    def own(obj: Object) -> Iterable[Key]:
        names = (manifests.XDS_CONFIG_MAP, manifests.DEPLOYMENT_NAME)
        return (KEY,) if meta.name(obj) in names else ()

    sources = [
        Source(caches.routes, everything),
        Source(caches.services, everything),
        Source(caches.slices, everything),
        *(Source(cache, everything) for cache in (*caches.roles, *caches.bindings)),
        Source(caches.config_maps, own),
        Source(caches.deployments, own),
    ]
    controller = Controller(
        "gateway", GatewayReconciler(client, caches, settings, clock), sources, clock
    )
    controller.enqueue(KEY)
    return controller
