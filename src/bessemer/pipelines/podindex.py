"""The pods of each run, and which of them changed since the engine last looked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from bessemer.control.reconcile import Key
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kube.client import EventType
from bessemer.kube.informer import Informer
from bessemer.pipelines.pods import RUN_LABEL
from bessemer.pipelines.records import Run


class Change(NamedTuple):
    """A pod's newest state; of a deleted one, its last."""

    name: str
    pod: Object
    is_gone: bool


class PodIndex:
    """Built from an informer's events; must subscribe before the controller that it serves.

    A run's pods are those of its namespace with its label: a label alone proves nothing.
    """

    def __init__(self, informer: Informer) -> None:
        self._pods: dict[str, dict[tuple[str, str], Object]] = {}
        self._changes: dict[str, dict[tuple[str, str], Change]] = {}
        informer.subscribe(self._changed)

    def _changed(self, type_: EventType, pod: Object) -> None:
        run_id = meta.labels(pod).get(RUN_LABEL, "")
        if not run_id:
            return
        key, is_gone = (meta.namespace(pod), meta.name(pod)), type_ is EventType.DELETED
        known = self._pods.setdefault(run_id, {})
        if is_gone:
            known.pop(key, None)
            if not known:
                del self._pods[run_id]
        else:
            known[key] = pod
        self._changes.setdefault(run_id, {})[key] = Change(key[1], pod, is_gone)

    def get(self, run: Run, name: str) -> Object | None:
        """A pod of the run as last seen."""
        return self._pods.get(run.id, {}).get((run.namespace, name))

    def of(self, run_id: str) -> list[Object]:
        """All pods with the run's label, in any namespace."""
        return list(self._pods.get(run_id, {}).values())

    def take(self, run: Run) -> list[Change]:
        """The pods that changed since the last call."""
        changes = self._changes.pop(run.id, {})
        return [change for key, change in changes.items() if key[0] == run.namespace]

    def forget_changes(self, run_id: str) -> None:
        """Nobody will ask what changed."""
        self._changes.pop(run_id, None)

    def mark_all(self, run_id: str) -> None:
        """Tell all pods of the run as changed: for an engine that knows nothing of them yet."""
        for key, pod in self._pods.get(run_id, {}).items():
            changes = self._changes.setdefault(run_id, {})
            changes.setdefault(key, Change(key[1], pod, is_gone=False))


def run_key(pod: Object) -> Iterable[Key]:
    """The key of the pod's run."""
    run_id = meta.labels(pod).get(RUN_LABEL)
    return (Key("", run_id),) if run_id else ()
