"""Which pods go first when there are too many. Pure.

Source: k8s.io/kubernetes pkg/controller/controller_utils.go ActivePodsWithRanks.
"""

from __future__ import annotations

from bessemer.control.pods import is_ready, phase, ready_since, restarts
from bessemer.kinds import meta
from bessemer.kinds.kind import Object

_PHASE_RANK = {"Pending": 0, "Unknown": 1, "Running": 2}
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


def victims_first(pods: list[Object]) -> list[Object]:
    """The pods in the order in which a scale-down takes them.

    Unbound, pending, unready, cheap, newly ready, restarted, young ones go first.
    """
    young_first = sorted(pods, key=_created, reverse=True)
    return sorted(young_first, key=_worth)


def _created(pod: Object) -> str:
    return str(pod["metadata"].get("creationTimestamp", ""))


def _worth(pod: Object) -> tuple[bool, int, bool, int, float, int]:
    moment = ready_since(pod)
    try:
        cost = int(meta.annotations(pod).get(DELETION_COST, "0"))
    except ValueError:
        cost = 0
    return (
        bool(meta.dig(pod, "spec.nodeName")),
        _PHASE_RANK.get(phase(pod), 0),
        is_ready(pod),
        cost,
        -moment.timestamp() if moment else 0.0,
        -restarts(pod),
    )
