"""What creates, updates and patches make of the owners of an object's fields. Pure.

As upstream, an object without ``managedFields`` is not tracked: updates leave it so, and its first
apply finds all that stands there owned by ``before-first-apply``. Objects that our own controllers
make begin untracked; upstream tracks these too.
Source: k8s.io/apimachinery pkg/util/managedfields/internal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from bessemer.cluster.apiserver.fieldmanager import fieldsets, mergetypes, objects
from bessemer.cluster.apiserver.fieldmanager.entries import (
    UPDATE,
    Entries,
    Owner,
    Write,
    arrange,
    cap,
    fields_of,
    make,
    owner,
    read,
)
from bessemer.cluster.apiserver.fieldmanager.fieldsets import LEAF, SELF, FieldSet
from bessemer.kinds.kind import Kind, Object

#: Who owns what stood in an object before anybody applied it.
BEFORE_FIRST_APPLY = "before-first-apply"
#: The manager of writes that come from this process and name none.
OURS = "bessemer"

# What nobody owns: it names the object, or is the server's alone.
_HEAD = ("apiVersion", "kind")
_SERVERS = frozenset({
    "name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields",
    "resourceVersion",
})  # fmt: skip
_NOBODYS: FieldSet = {
    **{f"f:{name}": LEAF for name in _HEAD},
    "f:metadata": {SELF: LEAF, **{f"f:{name}": LEAF for name in _SERVERS}},
}
# Structs of built-in kinds that are there before anything is in them: nobody owns them as such.
_HOLDERS = (
    ("f:spec",),
    ("f:spec", "f:containers"),
    ("f:spec", "f:resources"),
    ("f:spec", "f:strategy"),
    ("f:spec", "f:template"),
    ("f:spec", "f:template", "f:metadata"),
    ("f:spec", "f:template", "f:spec"),
    ("f:spec", "f:template", "f:spec", "f:containers"),
)
_ANY = "*"
# Where admission gives what nobody asked for: addresses, the files of a token, finalizers.
_GIVEN: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "pods": (
        ("f:spec", "f:serviceAccountName"),
        ("f:spec", "f:serviceAccount"),
        ("f:spec", "f:imagePullSecrets"),
        ("f:spec", "f:volumes"),
        ("f:spec", "f:containers", _ANY, "f:volumeMounts"),
        ("f:spec", "f:initContainers", _ANY, "f:volumeMounts"),
    ),
    "services": (("f:spec", "f:clusterIP"), ("f:spec", "f:clusterIPs")),
    "persistentvolumeclaims": (("f:metadata", "f:finalizers"),),
    "namespaces": (("f:spec", "f:finalizers"),),
}
_STATUS: FieldSet = {"f:status": LEAF}


class Owned(NamedTuple):
    """An object, and who owns its fields."""

    object: Object  # without its managedFields
    entries: Entries


def split(obj: Object) -> Owned:
    """The object without its owners, and they."""
    metadata = obj["metadata"]
    entries = metadata.get("managedFields")
    if entries is None:
        return Owned(obj, ())
    kept = {key: value for key, value in metadata.items() if key != "managedFields"}
    return Owned({**obj, "metadata": kept}, entries)


def join(obj: Object, entries: Entries) -> Object:
    """The object with its owners. Its metadata is changed in place."""
    if entries:
        obj["metadata"]["managedFields"] = list(entries)
    return obj


def given(obj: Object) -> Any:
    """The owners that a client sent along, whatever they are; None without any."""
    metadata = obj.get("metadata")
    return metadata.get("managedFields") if isinstance(metadata, dict) else None


def choose(held: Entries, wanted: Any, subresource: str) -> Entries:
    """The owners from which an update goes on: those that the client sent, if they can be read.

    An empty list, or one with an empty entry, forgets them all. Source: decodeLiveOrNew.
    """
    if wanted is None or wanted == held or subresource:
        return held
    if wanted in ([], [{}]):
        return ()
    try:
        return read(wanted) or held
    except ValueError:
        # As upstream: a client that doesn't understand them must not take them away.
        return held


def fields_sent(kind: Kind, sent: Object) -> FieldSet:
    """Of a kind to which admission gives what nobody asked for, the fields that were asked for."""
    return objects.every_field(mergetypes.of(kind), sent) if kind.resource in _GIVEN else {}


def create(kind: Kind, new: Object, sent: FieldSet, write: Write) -> Entries:
    """The owner of a new object's fields.

    Args:
        kind: its kind.
        new: as it is stored.
        sent: see ``fields_sent``; what admission gives beyond it is nobody's.
        write: who makes it.
    """
    fields = _fields_of_new(kind, new, write.subresource)
    for place in _GIVEN.get(kind.resource, ()):
        _disown_given(fields, sent, place)
    return [make(kind, write, UPDATE, fields)] if fields else ()


def _disown_given(fields: FieldSet, sent: FieldSet, place: tuple[str, ...]) -> None:
    """Take what was not sent out of a part of a set that nothing else shares yet."""
    step, *rest = place
    if step == _ANY:
        for each in fields.keys() - {SELF}:
            _disown_given(fields, sent, (each, *rest))
        return
    mine, theirs = fields.get(step), sent.get(step, {})
    if not mine:
        if mine is not None and not rest and step not in sent:
            del fields[step]
    elif rest:
        _disown_given(mine, theirs, tuple(rest))
    elif left := fieldsets.intersection(mine, theirs):
        fields[step] = {SELF: LEAF, **left}
    else:
        del fields[step]


def _fields_of_new(kind: Kind, obj: Object, subresource: str) -> FieldSet:
    kept = untouched(kind, subresource)
    parts = {key: part for key, part in obj.items() if key not in _HEAD and "f:" + key not in kept}
    if "metadata" in parts:
        found = parts["metadata"].items()
        parts["metadata"] = {key: value for key, value in found if key not in _SERVERS}
        if not parts["metadata"]:
            del parts["metadata"]
    fields = objects.every_field(mergetypes.of(kind), parts)
    if "f:metadata" in fields:
        del fields["f:metadata"][SELF]
    if kind.schema is not None and "f:spec" in fields:
        _disown_holders(fields)
    return fields


def _disown_holders(fields: FieldSet) -> None:
    """Take what nobody owns out of a set that nothing else shares yet."""
    for place in _HOLDERS:
        node: FieldSet | None = fields
        for step in place:
            node = node.get(step) if node else None
        if node and len(node) > 1:
            node.pop(SELF, None)


def untouched(kind: Kind, subresource: str) -> FieldSet:
    """What a write to the object, or to its subresource, leaves as it is."""
    if "status" not in kind.subresources or subresource == "scale":
        return {}
    if subresource == "status":
        return {"f:spec": LEAF, "f:metadata": LEAF}
    return _STATUS


def strip(fields: FieldSet) -> FieldSet:
    """The fields without what nobody owns."""
    return fieldsets.difference(fields, _NOBODYS)


def update(kind: Kind, before: Object, after: Object, held: Entries, write: Write) -> Entries:
    """The owners after an update: whoever changed a field owns it alone."""
    if not held:
        return ()
    changed, gone = objects.compare(mergetypes.of(kind), before, after)
    if "f:metadata" in changed:
        changed = strip(changed)
    if not changed and not gone:
        return held
    mine = Owner(write.manager or "unknown", UPDATE, kind.api_version, write.subresource)
    lost = fieldsets.union(changed, gone)
    found = []
    had: FieldSet = {}
    for entry in held:
        if owner(entry) == mine:
            had = fields_of(entry)
            if not changed:
                found += keep(entry, fieldsets.difference(had, gone))
        else:
            found += keep(entry, fieldsets.difference(fields_of(entry), lost))
    if changed:
        fields = fieldsets.union(fieldsets.difference(had, gone), changed)
        found.append(make(kind, write, UPDATE, fields))
    return cap(arrange(found))


def keep(entry: Object, fields: FieldSet) -> list[Object]:
    """The entry with those fields alone; nothing where there are none."""
    if fields is fields_of(entry):
        return [entry]
    return [{**entry, "fieldsV1": fields}] if fields else []
