"""From objects to the keys that a reconciler works on.

Source: controller-runtime pkg/source, pkg/handler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bessemer.control.reconcile import Key
from bessemer.kinds import meta
from bessemer.kinds.kind import Kind, Object
from bessemer.kube.informer import Informer

Keys = Callable[[Object], Iterable[Key]]


@dataclass(frozen=True)
class Source:
    """Whose changes wake a controller, and for which keys."""

    informer: Informer
    keys: Keys

    def all_keys(self) -> Iterable[Key]:
        """The keys of all objects that are there now."""
        for obj in self.informer.list():
            yield from self.keys(obj)


def own_key(obj: Object) -> Iterable[Key]:
    """The object's own key."""
    return (Key(meta.namespace(obj), meta.name(obj)),)


def owner_key(kind: Kind) -> Keys:
    """The key of the object's controller, if that is of the kind."""

    def keys(obj: Object) -> Iterable[Key]:
        owner = meta.controller_of(obj)
        if owner is None or owner["kind"] != kind.kind:
            return ()
        if owner["apiVersion"].rpartition("/")[0] != kind.group:
            return ()
        return (Key(meta.namespace(obj) if kind.namespaced else "", owner["name"]),)

    return keys
