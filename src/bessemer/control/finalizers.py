"""Finalizers: a clean-up step that an object waits for before it goes."""

from __future__ import annotations

from bessemer.kinds import meta
from bessemer.kinds.kind import Kind, Object
from bessemer.kube.client import Client
from bessemer.kube.errors import NotFound


def has(obj: Object, finalizer: str) -> bool:
    """Whether the object waits for that step."""
    return finalizer in (obj["metadata"].get("finalizers") or ())


async def add(client: Client, kind: Kind, obj: Object, finalizer: str) -> Object:
    """The object with the finalizer stored; Conflict when it changed since it was read."""
    if has(obj, finalizer):
        return obj
    found = [*(obj["metadata"].get("finalizers") or ()), finalizer]
    return await _write(client, kind, obj, found)


async def remove(client: Client, kind: Kind, obj: Object, finalizer: str) -> Object:
    """The object without the finalizer; one that is gone already is fine.

    Raises:
        Conflict: the object changed since it was read.
    """
    if not has(obj, finalizer):
        return obj
    left = [name for name in obj["metadata"]["finalizers"] if name != finalizer]
    try:
        return await _write(client, kind, obj, left)
    except NotFound:
        return obj


async def _write(client: Client, kind: Kind, obj: Object, finalizers: list[str]) -> Object:
    # The whole list with the version it was read at: a patch of lists can't be guarded otherwise.
    metadata = {"finalizers": finalizers, "resourceVersion": obj["metadata"]["resourceVersion"]}
    patch = {"metadata": metadata}
    return await client.patch(kind, meta.name(obj), meta.namespace(obj), patch)
