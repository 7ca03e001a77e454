"""The nouns of the store: keys, records, changes."""

from __future__ import annotations

from typing import NamedTuple

import orjson

from bessemer.kinds.kind import Object
from bessemer.kube.client import EventType


class Key(NamedTuple):
    """Where an object lives: ``Key("deployments.apps", "default", "web")``."""

    resource: str  # Kind.resource: plural, or plural.group
    namespace: str  # "" for cluster-scoped kinds
    name: str

    def __str__(self) -> str:
        """``deployments.apps/default/web``."""
        return "/".join(self)


class Record(NamedTuple):
    """One state of one object: parsed and serialised. Shared by all readers: never modified."""

    key: Key
    version: int  # metadata.resourceVersion, as a number
    object: Object
    data: bytes


class Change(NamedTuple):
    """What one committed write did."""

    type: EventType  # ADDED, MODIFIED, DELETED
    record: Record  # after it; of a DELETED object its last state, with the deletion's version
    previous: Record | None  # before it


def serialize(obj: Object) -> bytes:
    """The object as JSON, in no more memory than it has bytes.

    What orjson returns still has the buffer that it was written in, 4 to 30 times its size: fine
    for an answer, not for what stays.
    """
    return bytes(memoryview(orjson.dumps(obj)))
