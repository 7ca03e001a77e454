"""How many threads numerical libraries start in a container: as many as its share of the cores.

Each such library starts a thread for every core of the machine. Thirty pods of one machine then
run thirty times as many threads as there are cores, which mostly wait for each other: a model that
is fitted in 5 s takes minutes. Variables of the pod's own win.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from bessemer.kinds import quantity
from bessemer.kinds.kind import Object

#: What the libraries read: OpenMP (scikit-learn, XGBoost, PyTorch), the BLAS, joblib's loky, Rust.
VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS", "LOKY_MAX_CPU_COUNT", "RAYON_NUM_THREADS",
    "POLARS_MAX_THREADS",
)  # fmt: skip


class Threads:
    """Who shares the cores of this machine.

    Args:
        allocatable: the node's.
    """

    def __init__(self, allocatable: Mapping[str, str]) -> None:
        self._cores = max(1, quantity.milli(allocatable.get("cpu", "1")) // 1000)
        self._sharers: set[str] = set()  # uids of pods that declare no share of their own

    def variables(self, uid: str, container: Object) -> dict[str, str]:
        """The variables of a container that begins now.

        Its limit counts, else its request; who declares neither shares the machine with all those
        of that kind that run by now.
        """
        declared = share(container)
        if declared is None:
            self._sharers.add(uid)
            count = self._cores // len(self._sharers)
        else:
            count = min(math.ceil(declared), self._cores)
        return dict.fromkeys(VARIABLES, str(max(count, 1)))

    def leave(self, uid: str) -> None:
        """The pod is over: its share of the cores is the others' again."""
        self._sharers.discard(uid)


def share(container: Object) -> float | None:
    """The cores that a container declares; None when it declares none. Pure."""
    resources = container.get("resources") or {}
    for side in ("limits", "requests"):
        if cpu := (resources.get(side) or {}).get("cpu"):
            return quantity.milli(cpu) / 1000
    return None
