"""Which ReplicaSet gets how many pods, and what the status says. Pure.

Source: k8s.io/kubernetes pkg/controller/deployment (rolling.go, recreate.go, sync.go).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bessemer.base.ids import hash_name
from bessemer.control import pods as podrules
from bessemer.kinds import meta
from bessemer.kinds.kind import Object

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
_NAME_CHARS = 253
_HISTORY_CHARS = 2000  # the oldest go, as upstream
# Annotations of the Deployment that its ReplicaSets don't take over.
_OWN = frozenset(
    {"kubectl.kubernetes.io/last-applied-configuration", REVISION, HISTORY, DESIRED, MAX_REPLICAS}
)


@dataclass(frozen=True)
class Observed:
    """A Deployment and what it owns."""

    deployment: Object
    sets: tuple[Object, ...]  # its ReplicaSets, oldest first
    pods: Mapping[str, list[Object]] = field(default_factory=dict)  # by ReplicaSet uid

    @property
    def current(self) -> Object | None:
        """The ReplicaSet of the Deployment's template; the oldest if there are several."""
        wanted = _template(self.deployment)
        return next((entry for entry in self.sets if _template(entry) == wanted), None)

    @property
    def old(self) -> list[Object]:
        """The ReplicaSets of earlier templates."""
        current = self.current
        return [entry for entry in self.sets if entry is not current]


def observe(
    deployment: Object, sets: Iterable[Object], pods: Mapping[str, list[Object]]
) -> Observed:
    """Tell a Deployment's new ReplicaSet from its old ones."""
    order = sorted(sets, key=lambda e: (e["metadata"].get("creationTimestamp", ""), meta.name(e)))
    return Observed(deployment, tuple(order), pods)


@dataclass(frozen=True)
class Limits:
    """How far a rolling update may stray from the wanted number."""

    surge: int
    unavailable: int


def replicas(obj: Object) -> int:
    """spec.replicas; 1 where it is not said."""
    return int(meta.dig(obj, "spec.replicas", 1))


def counted(replicaset: Object, what: str) -> int:
    """A number of a ReplicaSet's status; absent is 0."""
    return int(meta.dig(replicaset, f"status.{what}", 0))


def limits(deployment: Object) -> Limits:
    """MaxSurge (rounded up) and maxUnavailable (rounded down); never both 0."""
    if is_recreate(deployment):
        return Limits(0, 0)
    total = replicas(deployment)
    rolling = meta.dig(deployment, "spec.strategy.rollingUpdate") or {}
    surge = _resolve(rolling.get("maxSurge", "25%"), total, math.ceil)
    unavailable = _resolve(rolling.get("maxUnavailable", "25%"), total, math.floor)
    if not surge and not unavailable:
        unavailable = 1
    return Limits(surge, min(unavailable, total))


def is_recreate(deployment: Object) -> bool:
    """Whether old pods end before new ones start."""
    return bool(meta.dig(deployment, "spec.strategy.type") == "Recreate")


def is_paused(deployment: Object) -> bool:
    """Whether template changes wait."""
    return bool(meta.dig(deployment, "spec.paused"))


def _resolve(value: int | str, total: int, rounded: Any) -> int:
    if isinstance(value, int):
        return value
    return int(rounded(total * int(value.removesuffix("%")) / 100))


def _template(obj: Object) -> Object:
    template: Object = dict(meta.dig(obj, "spec.template") or {})
    metadata = dict(template.get("metadata") or {})
    labels = {k: v for k, v in (metadata.get("labels") or {}).items() if k != HASH_LABEL}
    metadata.pop("creationTimestamp", None)
    return {**template, "metadata": {**metadata, "labels": labels}}


def revision(obj: Object) -> int:
    """The rollout's number; 0 where it has none."""
    return _noted(obj, REVISION)


def _noted(obj: Object, annotation: str) -> int:
    """A number of ours in an annotation; 0 where it is absent or somebody broke it."""
    text = meta.annotations(obj).get(annotation, "")
    return int(text) if text.isdecimal() else 0


def new_replicaset(observed: Observed) -> Object:
    """The ReplicaSet for the template that has none yet, sized for its first step."""
    deployment = observed.deployment
    template = meta.copy(_template(deployment))
    collisions = str(counted(deployment, "collisionCount"))
    digest = hash_name(json.dumps(template, sort_keys=True), collisions)
    template["metadata"]["labels"][HASH_LABEL] = digest
    selector = meta.copy(deployment["spec"].get("selector") or {})
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: digest}
    number = max((revision(entry) for entry in observed.sets), default=0) + 1
    spec: Object = {"selector": selector, "template": template}
    spec["replicas"] = new_size(observed, None)
    if delay := deployment["spec"].get("minReadySeconds"):
        spec["minReadySeconds"] = delay
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": _set_name(deployment, digest),
            "namespace": meta.namespace(deployment),
            "labels": dict(template["metadata"]["labels"]),
            "annotations": notes(deployment, number),
            "ownerReferences": [meta.owner_reference(deployment)],
        },
        "spec": spec,
    }


def _set_name(deployment: Object, digest: str) -> str:
    kept = meta.name(deployment)[: _NAME_CHARS - len(digest) - 1]
    return f"{kept.rstrip('-.')}-{digest}"


def notes(deployment: Object, number: int) -> dict[str, str]:
    """What a ReplicaSet of the Deployment is annotated with."""
    total = replicas(deployment)
    taken = {k: v for k, v in meta.annotations(deployment).items() if k not in _OWN}
    return taken | {
        REVISION: str(number),
        DESIRED: str(total),
        MAX_REPLICAS: str(total + limits(deployment).surge),
    }


def next_revision(observed: Observed) -> int:
    """The number that the current ReplicaSet should carry: above all old ones."""
    current = observed.current
    newest = max((revision(entry) for entry in observed.old), default=0) + 1
    return max(newest, revision(current)) if current else newest


def renewal(observed: Observed, current: Object) -> Object:
    """The merge patch that makes the current ReplicaSet follow its Deployment; empty: it does.

    Its revision, the annotations taken over, and how long a pod must be ready.
    """
    deployment = observed.deployment
    number = next_revision(observed)
    wanted = notes(deployment, number)
    wanted.pop(DESIRED)  # that one and the next are the scaling's memory
    wanted.pop(MAX_REPLICAS)
    held = meta.annotations(current)
    before = revision(current)
    if before and before != number:
        # A roll-back: the rollouts that this ReplicaSet was before.
        past = ",".join(filter(None, (held.get(HISTORY, ""), str(before))))
        wanted[HISTORY] = past if len(past) <= _HISTORY_CHARS else past.partition(",")[2]
    patch: Object = {}
    if any(held.get(key) != value for key, value in wanted.items()):
        patch["metadata"] = {"annotations": wanted}
    delay = int(meta.dig(deployment, "spec.minReadySeconds", 0))
    if delay != int(meta.dig(current, "spec.minReadySeconds", 0)):
        patch["spec"] = {"minReadySeconds": delay}
    return patch


def sizes(observed: Observed) -> dict[str, int]:
    """The next number of pods of each ReplicaSet whose number should change, by name."""
    deployment = observed.deployment
    current = observed.current
    if is_paused(deployment) or _was_resized(observed):
        wanted = _rescale(observed)
    elif is_recreate(deployment):
        wanted = _recreate(observed)
    else:
        wanted = _roll(observed, current) if current is not None else {}
    before = {meta.name(entry): replicas(entry) for entry in observed.sets}
    noted = {meta.name(entry) for entry in observed.sets if _is_noted(observed, entry)}
    return {
        name: size for name, size in wanted.items() if size != before[name] or name not in noted
    }


def may_create(observed: Observed) -> bool:
    """Whether the ReplicaSet of a new template is to be made now."""
    if observed.current is not None or is_paused(observed.deployment):
        return False
    return not is_recreate(observed.deployment) or not old_pods_live(observed)


def _recreate(observed: Observed) -> dict[str, int]:
    wanted = {meta.name(entry): 0 for entry in observed.old}
    current = observed.current
    if current is not None and not old_pods_live(observed):
        wanted[meta.name(current)] = replicas(observed.deployment)
    return wanted


def old_pods_live(observed: Observed) -> bool:
    """Whether a pod of an old ReplicaSet still runs, ending ones included (Recreate waits)."""
    return any(replicas(entry) for entry in observed.old) or any(
        not podrules.is_finished(pod)
        for entry in observed.old
        for pod in observed.pods.get(meta.uid(entry), ())
    )


def new_size(observed: Observed, current: Object | None) -> int:
    """How many pods the new ReplicaSet may have now."""
    deployment = observed.deployment
    total = replicas(deployment)
    have = replicas(current) if current else 0
    if is_recreate(deployment):
        return total
    room = total + limits(deployment).surge - sum(replicas(entry) for entry in observed.sets)
    if have >= total:
        return total
    return have + max(0, min(room, total - have))


def _roll(observed: Observed, current: Object) -> dict[str, int]:
    """Scale the new one up as surge allows; else the old ones down as availability allows."""
    grown = new_size(observed, current)
    if grown != replicas(current):
        return {meta.name(current): grown}
    return _shrink_old(observed, current)


def _shrink_old(observed: Observed, current: Object) -> dict[str, int]:
    deployment = observed.deployment
    minimum = replicas(deployment) - limits(deployment).unavailable
    new_unavailable = replicas(current) - _available(current)
    spare = sum(replicas(entry) for entry in observed.sets) - minimum - new_unavailable
    wanted: dict[str, int] = {}
    for entry in observed.old:  # those that don't work go first
        size = replicas(entry)
        sick = min(spare, size - _available(entry))
        if sick > 0:
            wanted[meta.name(entry)] = size - sick
            spare -= sick
    available = sum(_available(entry) for entry in observed.sets)
    spare = available - minimum
    for entry in observed.old:
        size = wanted.get(meta.name(entry), replicas(entry))
        gone = min(max(spare, 0), size)
        if gone:
            wanted[meta.name(entry)] = size - gone
            spare -= gone
    return wanted


def _available(entry: Object) -> int:
    """The available pods of a ReplicaSet that will be left.

    Just after it was shrunk its status still tells of pods that are about to go.
    """
    return min(counted(entry, "availableReplicas"), replicas(entry))


def _was_resized(observed: Observed) -> bool:
    """Whether spec.replicas changed since the live ReplicaSets were last sized."""
    return any(not _is_noted(observed, entry) for entry in observed.sets)


def _is_noted(observed: Observed, entry: Object) -> bool:
    """Whether the ReplicaSet knows the wanted number; those without pods need not."""
    total = str(replicas(observed.deployment))
    return not replicas(entry) or meta.annotations(entry).get(DESIRED, total) == total


def _rescale(observed: Observed) -> dict[str, int]:
    """Another wanted number, and no step of a rollout: the live ReplicaSets share it."""
    current, total = observed.current, replicas(observed.deployment)
    live = [entry for entry in observed.sets if replicas(entry)]
    if len(live) < 2:
        alone = live[0] if live else current or (observed.sets[-1] if observed.sets else None)
        return {meta.name(alone): total} if alone else {}
    if current is not None and _is_saturated(observed, current):
        return {meta.name(entry): 0 for entry in live if entry is not current}
    return {} if is_recreate(observed.deployment) else _proportional(observed, live)


def _is_saturated(observed: Observed, current: Object) -> bool:
    """Whether the new ReplicaSet has all wanted pods, and knows that these are all."""
    total = replicas(observed.deployment)
    return (
        meta.annotations(current).get(DESIRED) == str(total)
        and replicas(current) == total
        and counted(current, "availableReplicas") == total
    )


def _proportional(observed: Observed, live: list[Object]) -> dict[str, int]:
    """All the live ReplicaSets by the same factor; the remainder to the largest."""
    deployment = observed.deployment
    total = replicas(deployment)
    allowed = total + limits(deployment).surge if total else 0
    have = sum(replicas(entry) for entry in live)
    left = allowed - have
    # Of equal ones the newer grow first, and the older shrink first.
    ages = live[::-1] if left > 0 else live
    order = sorted(ages, key=replicas, reverse=True)
    wanted: dict[str, int] = {}
    for entry in order:
        before = _noted(entry, MAX_REPLICAS) or have
        share = round(replicas(entry) * allowed / before) - replicas(entry)
        share = min(max(share, 0), left) if left > 0 else max(min(share, 0), left)
        wanted[meta.name(entry)] = max(0, replicas(entry) + share)
        left -= share
    first = meta.name(order[0])
    wanted[first] = max(0, wanted[first] + left)
    return wanted


def outdated(observed: Observed) -> list[Object]:
    """Old, empty ReplicaSets beyond the history that the Deployment keeps, oldest first.

    None while a rollout is under way: its end may be to go back to one of them.
    """
    if not is_paused(observed.deployment) and not is_complete(observed.deployment):
        return []
    keep = int(meta.dig(observed.deployment, "spec.revisionHistoryLimit", 10))
    kept = [entry for entry in observed.old if not meta.is_deleting(entry)]
    empty = [
        entry
        for entry in kept
        if not replicas(entry) and not counted(entry, "replicas") and _is_observed(entry)
    ]
    empty.sort(key=revision)
    return empty[: max(0, len(kept) - keep)]


def is_complete(deployment: Object) -> bool:
    """Whether its status says that every wanted pod is new and available, and no other is left."""
    total = replicas(deployment)
    keys = ("updatedReplicas", "replicas", "availableReplicas")
    return _is_observed(deployment) and all(counted(deployment, key) == total for key in keys)


def _is_observed(obj: Object) -> bool:
    """Whether the status is of the spec as it stands."""
    return counted(obj, "observedGeneration") >= int(obj["metadata"].get("generation", 0))
