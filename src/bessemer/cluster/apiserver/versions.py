"""Objects in a version that is not the stored one: a conversion changes apiVersion alone. Pure.

Source: apiextensions.k8s.io/v1, conversion strategy None.
"""

from __future__ import annotations

import orjson

from bessemer.cluster.apiserver.reading import Listing
from bessemer.cluster.store.records import Record
from bessemer.cluster.store.watch_cache import Event
from bessemer.kinds.kind import Kind
from bessemer.kube.client import EventType


def is_converted(kind: Kind) -> bool:
    """Whether the kind's objects are stored in another version."""
    return bool(kind.stored) and kind.stored != kind.api_version


def record(kind: Kind, stored: Record) -> Record:
    """The record as objects of that version are."""
    if not kind.stored or stored.object.get("apiVersion") == kind.api_version:
        return stored
    obj = {**stored.object, "apiVersion": kind.api_version}
    return Record(stored.key, stored.version, obj, orjson.dumps(obj))


def listing(kind: Kind, stored: Listing) -> Listing:
    """The listing as objects of that version are."""
    if not is_converted(kind):
        return stored
    return stored._replace(records=[record(kind, each) for each in stored.records])


def event(kind: Kind, stored: Event) -> Event:
    """A watch's event as objects of that version are."""
    if not is_converted(kind) or stored.type is EventType.BOOKMARK:
        return stored
    obj = {**stored.object, "apiVersion": kind.api_version}
    return stored._replace(object=obj, data=orjson.dumps(obj))
