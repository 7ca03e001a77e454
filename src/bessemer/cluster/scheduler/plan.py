"""Whether a pod fits a node, and upstream's words when it does not. Pure.

Source: k8s.io/kubernetes pkg/scheduler/framework/plugins/{noderesources,nodeaffinity,
tainttoleration,nodeunschedulable}, framework/types.go FitError.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from bessemer.kinds import labelselector, meta, quantity
from bessemer.kinds.kind import Object
from bessemer.kinds.pod import has_ended


@dataclass
class Demand:
    """What pods ask of a node: thousandths of cores, whole units of the rest, and their number."""

    amounts: Counter[str] = field(default_factory=Counter)
    pods: int = 0

    def add(self, other: Demand) -> None:
        """Count another demand in."""
        self.amounts.update(other.amounts)
        self.pods += other.pods

    def remove(self, other: Demand) -> None:
        """Count another demand out."""
        self.amounts.subtract(other.amounts)
        self.pods -= other.pods


@dataclass(frozen=True)
class Placement:
    """The node that takes the pod, or why none does."""

    node: str = ""
    message: str = ""


@lru_cache(maxsize=4096)
def measure(resource: str, text: str) -> int:
    """An amount of a resource in the unit that demands are counted in.

    Remembered: whenever room is left, each pod that waits is held against the node again.
    """
    return quantity.milli(text) if resource == "cpu" else quantity.whole(text)


def demand(pod: Object) -> Demand:
    """A pod's demand: what runs together, or the largest step of its start, and overhead.

    Init containers with restartPolicy Always go on running beside all that come after them.
    Source: k8s.io/component-helpers resource PodRequests.
    """
    spec = pod["spec"]
    beside: Counter[str] = Counter()
    largest: Counter[str] = Counter()
    for container in spec.get("initContainers") or ():
        wanted = _requests(container)
        if container.get("restartPolicy") == "Always":
            beside.update(wanted)
        else:
            largest |= wanted + beside
    total = beside.copy()
    for container in spec.get("containers") or ():
        total.update(_requests(container))
    total |= largest
    for resource, text in (spec.get("overhead") or {}).items():
        total[resource] += measure(resource, text)
    return Demand(total, 1)


def _requests(container: Object) -> Counter[str]:
    resources = container.get("resources") or {}
    # A limit without a request is a request, as upstream defaults it.
    wanted = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return Counter({resource: measure(resource, text) for resource, text in wanted.items()})


def occupies(pod: Object) -> bool:
    """Whether a pod uses its node: bound and not over."""
    if not pod["spec"].get("nodeName"):
        return False
    return not has_ended(pod)


def waits(pod: Object) -> bool:
    """Whether a pod still wants a node from us."""
    spec = pod["spec"]
    return (
        not spec.get("nodeName")
        and not meta.is_deleting(pod)
        and not spec.get("schedulingGates")
        and spec.get("schedulerName", "default-scheduler") == "default-scheduler"
        and not has_ended(pod)
    )


def urgency(pod: Object) -> tuple[int, str]:
    """What sorts those that wait: the higher priority first, then the older."""
    priority = int(meta.dig(pod, "spec.priority", 0) or 0)
    return -priority, str(pod["metadata"].get("creationTimestamp", ""))


def missing_claim(pod: Object, find: Callable[[str, str], Object | None]) -> str:
    """Why a claim of the pod can't be had, by name and namespace; "" when all can.

    Source: pkg/scheduler/framework/plugins/volumebinding, PreFilter.
    """
    for volume in pod["spec"].get("volumes") or ():
        name = meta.dig(volume, "persistentVolumeClaim.claimName")
        if not name:
            continue
        claim = find(name, meta.namespace(pod))
        if claim is None:
            return f'persistentvolumeclaim "{name}" not found'
        if meta.is_deleting(claim):
            return f'persistentvolumeclaim "{name}" is being deleted'
    return ""


def place(
    pod: Object, nodes: Iterable[Object], used: Mapping[str, Demand], claim: str = ""
) -> Placement:
    """The first node that takes the pod; else the message that counts each node's reasons.

    ``claim`` says what is wrong with a claim of the pod: then no node takes it.
    """
    wanted, reasons, count = demand(pod), Counter[str](), 0
    for node in nodes:
        count += 1
        if claim:
            continue
        refusals = _refusals(pod, wanted, node, used.get(meta.name(node), Demand()))
        if not refusals:
            return Placement(node=meta.name(node))
        reasons.update(refusals)
    if not count:
        return Placement(message="no nodes available to schedule pods")
    told = claim or ", ".join(sorted(f"{number} {reason}" for reason, number in reasons.items()))
    return Placement(message=f"0/{count} nodes are available: {told}.")


def _refusals(pod: Object, wanted: Demand, node: Object, used: Demand) -> list[str]:
    if node["spec"].get("unschedulable") and not _tolerates(
        pod, {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    ):
        return ["node(s) were unschedulable"]
    for taint in node["spec"].get("taints") or ():
        if taint.get("effect") in ("NoSchedule", "NoExecute") and not _tolerates(pod, taint):
            return ["node(s) had untolerated taint(s)"]
    if not _is_selected(pod, node):
        return ["node(s) didn't match Pod's node affinity/selector"]
    return _shortages(wanted, node, used)


def _shortages(wanted: Demand, node: Object, used: Demand) -> list[str]:
    allocatable = meta.dig(node, "status.allocatable", {})
    short = []
    if used.pods + wanted.pods > measure("pods", allocatable.get("pods", "110")):
        short.append("Too many pods")
    for resource, amount in wanted.amounts.items():
        room = measure(resource, allocatable.get(resource, "0")) - used.amounts[resource]
        if amount > max(room, 0):
            short.append(f"Insufficient {resource}")
    return short


def _tolerates(pod: Object, taint: Mapping[str, str]) -> bool:
    for toleration in pod["spec"].get("tolerations") or ():
        effect, key = toleration.get("effect"), toleration.get("key")
        if effect and effect != taint["effect"]:
            continue
        if key and key != taint["key"]:
            continue
        if toleration.get("operator", "Equal") == "Exists":
            return True
        if key and toleration.get("value", "") == taint.get("value", ""):
            return True
    return False


def _is_selected(pod: Object, node: Object) -> bool:
    labels = meta.labels(node)
    selector = pod["spec"].get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in selector.items()):
        return False
    path = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
    required = meta.dig(pod, path)
    if not required:
        return True
    terms = required.get("nodeSelectorTerms") or ()
    return any(_matches_term(term, node) for term in terms)


def _matches_term(term: Object, node: Object) -> bool:
    labels = meta.labels(node)
    fields = {"metadata.name": meta.name(node)}
    expressions = term.get("matchExpressions") or ()
    by_field = term.get("matchFields") or ()
    if not expressions and not by_field:
        return False
    by_label = labelselector.from_expressions(expressions)
    return labelselector.matches_labels(by_label, labels) and labelselector.matches_labels(
        labelselector.from_expressions(by_field), fields
    )
