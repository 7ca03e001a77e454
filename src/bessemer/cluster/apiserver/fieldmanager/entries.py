"""``metadata.managedFields``: an entry for each manager, operation and subresource. Pure.

Entries are JSON as the API shows them, shared and never modified.
Source: metav1.ManagedFieldsEntry, k8s.io/apimachinery pkg/util/managedfields/internal.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from bessemer.base.clock import format_time, parse_time
from bessemer.cluster.apiserver.fieldmanager.fieldsets import FieldSet, normalize, union_all
from bessemer.kinds.kind import Kind, Object

UPDATE, APPLY = "Update", "Apply"
#: So many entries of updates are kept apart; the oldest share one.
MOST_UPDATERS = 10
_ANCIENT = "ancient-changes"
_TEXTS = ("manager", "operation", "apiVersion", "time", "fieldsType", "subresource")

Entries = Sequence[Object]


class Owner(NamedTuple):
    """What tells entries apart: an applier's is the same in every version of the API."""

    manager: str
    operation: str
    api_version: str  # empty for an applier
    subresource: str


class Write(NamedTuple):
    """Who writes, which part of the object, and when."""

    manager: str
    now: datetime
    subresource: str = ""


def owner(entry: Object) -> Owner:
    """Whose entry it is."""
    operation = entry["operation"]
    version = "" if operation == APPLY else entry["apiVersion"]
    return Owner(entry.get("manager", ""), operation, version, entry.get("subresource", ""))


def fields_of(entry: Object) -> FieldSet:
    """The fields that the entry's manager owns."""
    found: FieldSet = entry.get("fieldsV1") or {}
    return found


@lru_cache(maxsize=8)
def _stamp(second: int) -> str:
    # Many writes have one second.
    return format_time(datetime.fromtimestamp(second, UTC))


# Clients make many objects of one shape, whose sets are then one set in memory.
_MOST_SHARED, _MOST_SHARED_BYTES = 512, 4096
_shared: OrderedDict[bytes, FieldSet] = OrderedDict()


def _share_memory(fields: FieldSet) -> FieldSet:
    data = orjson.dumps(fields)
    known = _shared.get(data)
    if known is None:
        if len(data) > _MOST_SHARED_BYTES:
            return fields
        known = _shared[data] = fields
        if len(_shared) > _MOST_SHARED:
            _shared.popitem(last=False)
    return known


def make(kind: Kind, write: Write, operation: str, fields: FieldSet) -> Object:
    """The entry of a write that took these fields."""
    entry: Object = {
        "manager": write.manager or "unknown",
        "operation": operation,
        "apiVersion": kind.api_version,
        "time": _stamp(int(write.now.timestamp())),
        "fieldsType": "FieldsV1",
        "fieldsV1": _share_memory(fields),
    }
    if write.subresource:
        entry["subresource"] = write.subresource
    return entry


def read(found: Any) -> list[Object]:
    """Entries as a client wrote them, in our form.

    Raises:
        ValueError: they are none.
    """
    if not isinstance(found, list):
        raise ValueError("managedFields must be a list")  # noqa: TRY004 - one error for its caller
    by_owner: dict[Owner, Object] = {}
    for given in found:
        entry = _read(given)
        by_owner[owner(entry)] = entry
    return arrange(by_owner.values())


def _read(given: Any) -> Object:
    if not isinstance(given, dict):
        raise ValueError("an entry of managedFields must be an object")  # noqa: TRY004 - as above
    entry: Object = {}
    for name in _TEXTS:
        value = given.get(name)
        if not isinstance(value, str | None):
            raise ValueError(f"{name} of managedFields must be a string")  # noqa: TRY004 - as above
        if value:
            entry[name] = value
    if entry.get("operation") not in (UPDATE, APPLY):
        raise ValueError("operation must be `Apply` or `Update`")
    if "apiVersion" not in entry or entry.get("fieldsType") != "FieldsV1":
        raise ValueError("an entry of managedFields needs an apiVersion and fieldsType: FieldsV1")
    if "time" in entry:
        entry["time"] = format_time(parse_time(entry["time"]))
    entry["fieldsV1"] = normalize(given.get("fieldsV1") or {})
    return entry


def arrange(entries: Iterable[Object]) -> list[Object]:
    """The entries in their order: appliers first, then the oldest."""
    return sorted(
        entries,
        key=lambda entry: (entry["operation"], entry.get("time", ""), *owner(entry)),
    )


def cap(entries: Sequence[Object]) -> Sequence[Object]:
    """The entries, arranged, where too many updaters' oldest share one of each API version."""
    updaters = [entry for entry in entries if entry["operation"] == UPDATE]
    surplus = len(updaters) - MOST_UPDATERS
    if surplus <= 0:
        return entries
    versions: dict[str, list[Object]] = {}
    for entry in updaters:  # the oldest first
        held = versions.setdefault(entry["apiVersion"], [])
        if not held or surplus > 0:
            surplus -= bool(held)
            held.append(entry)
    shared = [_share(held) for held in versions.values() if len(held) > 1]
    gone = {id(entry) for held in versions.values() if len(held) > 1 for entry in held}
    return arrange([*shared, *(entry for entry in entries if id(entry) not in gone)])


def _share(held: Sequence[Object]) -> Object:
    newest = {key: value for key, value in held[-1].items() if key != "subresource"}
    return {**newest, "manager": _ANCIENT, "fieldsV1": union_all(map(fields_of, held))}


def same_but_for_times(one: Entries, other: Entries) -> bool:
    """Whether nothing but the times tells them apart."""
    if len(one) != len(other):
        return False
    known = {owner(entry): entry for entry in other}
    for entry in one:
        theirs = known.get(owner(entry))
        if theirs is None or entry["apiVersion"] != theirs["apiVersion"]:
            return False
        if fields_of(entry) != fields_of(theirs):
            return False
    return True
