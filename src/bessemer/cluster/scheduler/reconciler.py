"""Binds waiting pods to the node, one decision at a time, and tells those that don't fit why."""

from __future__ import annotations

from collections.abc import Iterable

from bessemer.base import logs
from bessemer.base.clock import Clock, format_time
from bessemer.base.logs import fields
from bessemer.cluster.scheduler import plan
from bessemer.control.controller import Controller
from bessemer.control.events import EventRecorder
from bessemer.control.reconcile import DONE, Key, Result
from bessemer.control.sources import Source
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.node import NODE
from bessemer.kinds.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIM
from bessemer.kinds.pod import POD
from bessemer.kube.client import Client, EventType
from bessemer.kube.errors import Conflict, NotFound
from bessemer.kube.informer import Informers

_log = logs.get(__name__)
# Binds wait for the disk; many at once share a commit.
_WORKERS = 32
# A pod may have been refused for room that a bind takes which fails in the end.
_LOOK_AGAIN_SECONDS = 1.0
_COMPONENT = "default-scheduler"


class Scheduler:
    """Gives each waiting pod a node, or a PodScheduled condition that says why not yet."""

    def __init__(self, client: Client, informers: Informers, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._pods = informers.of(POD)
        self._nodes = informers.of(NODE)
        self._claims = informers.of(PERSISTENT_VOLUME_CLAIM)
        self._events = EventRecorder(client, _COMPONENT, clock)
        # What pods on nodes ask for, by uid; with those bound by us and not yet seen as bound,
        # or two pods would take one room.
        self._placed: dict[str, tuple[str, plan.Demand]] = {}
        self._used: dict[str, plan.Demand] = {}
        self._binding: set[str] = set()  # uids of pods whose bind is under way
        self._waits: dict[str, Object] = {}  # pods that no node has, by uid
        self._controller: Controller | None = None

    def controller(self) -> Controller:
        """The loop that runs this reconciler."""
        sources = [
            Source(self._pods, _own_key),
            Source(self._nodes, self._keys_of_node),
            Source(self._claims, self._keys_of_claim),
        ]
        self._pods.subscribe(self._count)
        self._controller = Controller("scheduler", self, sources, self._clock, workers=_WORKERS)
        return self._controller

    async def reconcile(self, key: Key) -> Result:
        """Bind the pod if it waits and fits; else write why not."""
        pod = self._pods.get(key.name, key.namespace)
        if pod is None or not plan.waits(pod) or meta.uid(pod) in self._placed:
            return DONE
        claim = plan.missing_claim(pod, self._claims.get)
        placement = plan.place(pod, self._nodes.list(), self._used, claim)
        try:
            if placement.node:
                await self._bind(pod, placement.node)
            else:
                unsure = bool(self._binding)
                await self._refuse(pod, placement.message)
                return Result(_LOOK_AGAIN_SECONDS if unsure else None)
        except (NotFound, Conflict):
            # Gone or changed meanwhile: the change brings the key back.
            return DONE
        return DONE

    async def _bind(self, pod: Object, node: str) -> None:
        uid = meta.uid(pod)
        self._place(uid, node, plan.demand(pod))
        self._binding.add(uid)
        patch = {"metadata": {"uid": uid}, "spec": {"nodeName": node}}
        try:
            await self._client.patch(POD, meta.name(pod), meta.namespace(pod), patch)
        except BaseException:
            if uid in self._placed:  # else its end was told meanwhile
                self._free(uid)
            raise
        finally:
            self._binding.discard(uid)
        message = f"Successfully assigned {meta.namespace(pod)}/{meta.name(pod)} to {node}"
        await self._events.record(pod, "Normal", "Scheduled", message)

    async def _refuse(self, pod: Object, message: str) -> None:
        conditions = meta.dig(pod, "status.conditions") or []
        old = next((each for each in conditions if each["type"] == "PodScheduled"), None)
        if old and old["status"] == "False" and old.get("message") == message:
            return
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastTransitionTime": format_time(self._clock.now()),
        }
        if old and old["status"] == "False":
            condition["lastTransitionTime"] = old["lastTransitionTime"]
        others = [each for each in conditions if each["type"] != "PodScheduled"]
        status = {**(pod.get("status") or {}), "conditions": [*others, condition]}
        status["phase"] = "Pending"
        _log.info("pod does not fit", extra=fields(pod=meta.name(pod), why=message))
        await self._client.update(POD, {**pod, "status": status}, subresource="status")
        await self._events.record(pod, "Warning", "FailedScheduling", message)

    def _count(self, type_: EventType, pod: Object) -> None:
        uid = meta.uid(pod)
        if type_ is not EventType.DELETED and plan.waits(pod):
            self._waits[uid] = pod
        else:
            self._waits.pop(uid, None)
        if type_ is not EventType.DELETED and plan.occupies(pod):
            if uid not in self._placed:
                self._place(uid, pod["spec"]["nodeName"], plan.demand(pod))
        elif uid in self._placed and (type_ is EventType.DELETED or not plan.waits(pod)):
            self._free(uid)
            # The room it leaves may be enough for those that wait.
            if self._controller:
                for key in self._waiting():
                    self._controller.enqueue(key)

    def _place(self, uid: str, node: str, demand: plan.Demand) -> None:
        self._placed[uid] = (node, demand)
        self._used.setdefault(node, plan.Demand()).add(demand)

    def _free(self, uid: str) -> None:
        node, demand = self._placed.pop(uid)
        self._used[node].remove(demand)

    def _keys_of_node(self, _node: Object) -> Iterable[Key]:
        return self._waiting()

    def _keys_of_claim(self, claim: Object) -> Iterable[Key]:
        return [key for key in self._waiting() if key.namespace == meta.namespace(claim)]

    def _waiting(self) -> list[Key]:
        waiting = sorted(self._waits.values(), key=plan.urgency)
        return [key for pod in waiting for key in _own_key(pod)]


def _own_key(pod: Object) -> list[Key]:
    return [Key(meta.namespace(pod), meta.name(pod))] if plan.waits(pod) else []
